package daemon

import (
	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"hoy/lib/fault"
)

// flags are the flags as texts, before Options makes sense of them.
type flags struct {
	*pflag.FlagSet
	o *Options

	configFile, bip, userns, shmSize  string
	maxLayer, diskBudget              string
	pools, dns, hostGateways, ulimits []string
	admit                             string
	logOpts, execOpts, features       []string
	runtimes                          []string
	dockerSocket                      bool
	tlsVerify                         bool

	bip6, fixed, fixed6, gateway, gateway6, bindIP, hostFirewall string
	networkOpts                                                  []string
}

// newFlags binds dockerd's flags that mean something here.
func newFlags(o *Options) *flags {
	f := &flags{FlagSet: pflag.NewFlagSet("hoyd serve", pflag.ContinueOnError), o: o}
	f.SortFlags = true
	f.Usage = func() {}
	f.places()
	f.networking()
	f.containers()
	f.registries()
	f.bindUnused()
	return f
}

func (f *flags) places() {
	o := f.o
	f.StringVar(&f.configFile, "config-file", defaultConfig, "engine configuration `file`, as dockerd's daemon.json")
	f.StringVar(&o.DataRoot, "data-root", o.DataRoot, "`directory` of images, containers, volumes")
	f.StringVar(&f.maxLayer, "max-layer-size", units.BytesSize(float64(o.MaxLayerSize)), "`size` that an image layer may unpack to, against decompression bombs; 0: what the disk has free")
	f.StringVar(&f.diskBudget, "disk-budget", "0", "`size` above which images that no container uses are removed, those used longest ago first; 0: never")
	f.StringVar(&o.ExecRoot, "exec-root", o.ExecRoot, "`directory` of what does not survive a reboot")
	f.StringArrayVarP(&o.Hosts, "host", "H", nil, "listen on `address`: unix://, tcp://, fd:// (repeatable)")
	f.BoolVar(&f.dockerSocket, "docker-socket", false, "also listen on "+dockerSocket)
	f.StringVarP(&o.Group, "group", "G", "", "`group` of the unix sockets (default hoy or docker, whichever exists)")
	f.StringVarP(&o.Pidfile, "pidfile", "p", "", "write the process id into `file`")
	f.StringVar(&o.Keeper, "keeper", "", "`path` of hoy-keeper (default: beside hoyd)")
	f.StringVarP(&o.LogLevel, "log-level", "l", o.LogLevel, "debug, info, warn, error or fatal")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "text or json")
	f.BoolVarP(&o.Debug, "debug", "D", false, "log more")
	f.BoolVar(&o.TLS, "tls", false, "TLS on tcp:// addresses, where clients need a certificate")
	f.BoolVar(&f.tlsVerify, "tlsverify", false, "as --tls; with =false clients need no certificate")
	f.StringVar(&o.TLSCACert, "tlscacert", "", "`file` of the authority that signs clients' certificates")
	f.StringVar(&o.TLSCert, "tlscert", "", "certificate `file`")
	f.StringVar(&o.TLSKey, "tlskey", "", "key `file`")
	f.BoolVar(&o.Validate, "validate", false, "check the options and end")
	f.StringVar(&o.MetricsAddr, "metrics-addr", "", "serve Prometheus' metrics on `host:port`")
	f.StringVar(&o.MinAPI, "min-api-version", o.MinAPI, "oldest `version` of the API that is answered")
	f.BoolVar(&o.LiveRestore, "live-restore", o.LiveRestore, "containers outlive the engine; with =false, which is the default under the name dockerd, its end stops them, or the next one's start")
	f.IntVar(&o.ShutdownTimeout, "shutdown-timeout", o.ShutdownTimeout, "`seconds` that requests may go on when the engine ends, and without live restore containers, if their own timeouts are not longer")
	f.StringArrayVar(&f.features, "feature", nil, "`name[=bool]` of a feature of dockerd's (repeatable)")
	f.StringArrayVar(&o.Labels, "label", nil, "`key=value` of the engine (repeatable)")
	f.BoolVar(&o.Experimental, "experimental", false, "say so to clients")
}

func (f *flags) networking() {
	o := f.o
	f.StringVarP(&o.Bridge, "bridge", "b", o.Bridge, "`link` of the default network; none: no such network")
	f.StringVar(&f.bip, "bip", "", "`address/length` of the bridge")
	f.StringArrayVar(&f.pools, "default-address-pool", nil, "`base=CIDR,size=N`: where subnets come from (repeatable)")
	f.IntVar(&o.MTU, "mtu", 0, "`bytes` of the default network's links")
	f.BoolVar(&o.IPMasq, "ip-masq", true, "translate addresses of what leaves the bridge")
	f.BoolVar(&o.DirectRouting, "allow-direct-routing", false, "published ports are reached at the containers' own addresses, too, by who has a route there")
	f.BoolVar(&o.IPTables, "iptables", true, "make rules for IPv4; with =false nothing is translated, and published ports are forwarded by the keeper, but for SCTP")
	f.BoolVar(&o.IP6Tables, "ip6tables", true, "the same for IPv6")
	f.BoolVar(&o.ICC, "icc", true, "let containers on the default network reach each other")
	f.StringVar(&f.admit, "bridge-accept-fwmark", "", "`mark[/mask]` of packets that reach every port of containers")
	f.StringVar(&f.bindIP, "ip", "0.0.0.0", "`address` where ports of the default network are published that name none")
	f.BoolVar(&o.IPv6, "ipv6", false, "IPv6 on the default network")
	f.StringVar(&f.bip6, "bip6", "", "IPv6 `address/length` of the bridge")
	f.StringVar(&f.fixed, "fixed-cidr", "", "`network` within the bridge's from which containers get addresses")
	f.StringVar(&f.fixed6, "fixed-cidr-v6", "", "the same for IPv6")
	f.StringVar(&f.gateway, "default-gateway", "", "gateway `address` of the default network (default: the bridge's)")
	f.StringVar(&f.gateway6, "default-gateway-v6", "", "the same for IPv6")
	f.StringArrayVar(&f.networkOpts, "default-network-opt", nil, "`driver=key=value` for new networks (repeatable)")
	f.StringVar(&f.hostFirewall, "published-ports", "guarded", "guarded: who may reach a published port, the host's own firewall says; open: everybody, as with dockerd")
	f.StringArrayVar(&f.dns, "dns", nil, "name server `address` of containers (repeatable)")
	f.StringArrayVar(&o.DNSSearch, "dns-search", nil, "search `domain` of containers (repeatable)")
	f.StringArrayVar(&o.DNSOptions, "dns-opt", nil, "resolver `option` of containers (repeatable)")
	f.StringArrayVar(&f.hostGateways, "host-gateway-ip", nil, "`address` that host-gateway stands for (default: the bridge's)")
}

func (f *flags) containers() {
	o := f.o
	f.StringVar(&o.CgroupParent, "cgroup-parent", "", "parent `group` of all containers")
	f.IntVar(&o.CPURTPeriod, "cpu-rt-period", 0, "`microseconds` of the parent group's realtime period (cgroup v1)")
	f.IntVar(&o.CPURTRuntime, "cpu-rt-runtime", 0, "`microseconds` of realtime in a period that containers may have together (cgroup v1)")
	f.StringVar(&o.CgroupnsMode, "default-cgroupns-mode", o.CgroupnsMode, "private or host")
	f.StringVar(&o.IpcMode, "default-ipc-mode", o.IpcMode, "private or shareable")
	f.StringVar(&f.shmSize, "default-shm-size", "64MiB", "`size` of /dev/shm")
	f.StringArrayVar(&f.ulimits, "default-ulimit", nil, "`name=soft:hard` (repeatable)")
	f.BoolVar(&o.Init, "init", false, "an init in every container")
	f.StringVar(&o.InitPath, "init-path", "", "`path` of a static init")
	f.BoolVar(&o.SELinux, "selinux-enabled", false, "SELinux labels for containers and their files, where the kernel has SELinux")
	f.BoolVar(&o.NoNewPrivileges, "no-new-privileges", false, "no_new_privs in every container")
	f.StringVar(&o.LogDriver, "log-driver", o.LogDriver, "default `driver` of logs: json-file, local, journald, syslog, gelf, fluentd or none")
	f.StringArrayVar(&f.logOpts, "log-opt", nil, "`key=value` of the log driver (repeatable)")
	f.StringVar(&o.SeccompProfile, "seccomp-profile", o.SeccompProfile, "`path` of a profile, builtin or unconfined")
	f.StringArrayVar(&f.runtimes, "add-runtime", nil, "`name=path` of an OCI runtime that containers may ask for (repeatable)")
	f.StringVar(&o.DefaultRuntime, "default-runtime", "runc", "`name` of the runtime of containers that ask for none; runc: hoy's own")
	f.StringArrayVar(&f.execOpts, "exec-opt", nil, "`key=value` (repeatable)")
	f.IntVar(&o.StopTimeout, "default-stop-timeout", o.StopTimeout, "`seconds` a container may take to stop")
	f.StringArrayVar(&o.CDISpecDirs, "cdi-spec-dir", nil, "`directory` of CDI specifications (repeatable)")
	f.StringVar(&f.userns, "userns-remap", "", "`user[:group]` whose subordinate ids containers get, or default")
}

// registries are the flags of how registries are reached.
func (f *flags) registries() {
	o := f.o
	f.StringArrayVar(&o.Mirrors, "registry-mirror", nil, "`URL` of a mirror of the default registry (repeatable)")
	f.StringArrayVar(&o.InsecureRegistries, "insecure-registry", nil, "`host[:port]` or network of registries without TLS, or without certificates to be trusted (repeatable)")
	f.IntVar(&o.MaxConcurrentDownloads, "max-concurrent-downloads", o.MaxConcurrentDownloads, "`number` of layers pulled at once")
	f.IntVar(&o.MaxConcurrentUploads, "max-concurrent-uploads", o.MaxConcurrentUploads, "`number` of layers pushed at once")
	f.IntVar(&o.MaxDownloadAttempts, "max-download-attempts", o.MaxDownloadAttempts, "`number` of attempts for a request to a registry")
	f.StringVar(&o.SignaturePolicy, "signature-policy", "", "`file` that says whose images are pulled, and by which keys they must be signed")
	f.StringVar(&o.HTTPProxy, "http-proxy", "", "proxy `URL`")
	f.StringVar(&o.HTTPSProxy, "https-proxy", "", "proxy `URL`")
	f.StringVar(&o.NoProxy, "no-proxy", "", "`hosts` that are reached without a proxy")
}

// Parse reads the flags of `hoyd serve` and the configuration file. warnings name
// what was accepted without having a meaning. --help gives pflag.ErrHelp.
func Parse(args []string) (o Options, warnings []string, err error) {
	return parse(args, false)
}

// parse is Parse, with the defaults of dockerd where hoyd was started by that name.
func parse(args []string, dockerd bool) (o Options, warnings []string, err error) {
	o = DefaultOptions()
	o.args, o.dockerd = args, dockerd
	o.LiveRestore = !dockerd
	f := newFlags(&o)
	if err := f.FlagSet.Parse(args); err != nil {
		return o, nil, err
	}
	if f.NArg() > 0 {
		return o, nil, fault.New(fault.Invalid, "hoyd serve takes no argument: %q", f.Arg(0))
	}
	warnings, err = f.readFile()
	if err != nil {
		return o, nil, err
	}
	unused, err := f.account()
	if err != nil {
		return o, nil, err
	}
	warnings = append(warnings, unused...)
	o.values = map[string]string{}
	f.VisitAll(func(flag *pflag.Flag) { o.values[flag.Name] = flag.Value.String() })
	more, err := f.finish()
	if err != nil {
		return o, warnings, err
	}
	o.complete()
	return o, append(warnings, more...), nil
}

// Flags returns the flags of `hoyd serve`, for documentation to be made of them.
func Flags() *pflag.FlagSet {
	o := DefaultOptions()
	return newFlags(&o).FlagSet
}

// Usage describes the flags.
func Usage() string {
	return "Usage:  hoyd serve [OPTIONS]\n\nThe engine: answers Docker's Engine API.\n\nOptions:\n" + Flags().FlagUsages()
}
