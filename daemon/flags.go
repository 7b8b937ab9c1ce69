package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/network"
)

// flags are the flags as texts, before Options makes sense of them.
type flags struct {
	*pflag.FlagSet
	o *Options

	configFile, bip, userns, shmSize  string
	maxLayer                          string
	pools, dns, hostGateways, ulimits []string
	logOpts                           []string
	dockerSocket                      bool
	tlsVerify                         bool
}

// newFlags binds dockerd's flags that mean something here.
func newFlags(o *Options) *flags {
	f := &flags{FlagSet: pflag.NewFlagSet("hoyd serve", pflag.ContinueOnError), o: o}
	f.SortFlags = true
	f.Usage = func() {}
	f.places()
	f.networking()
	f.containers()
	for _, m := range meaningless() {
		if m.isBool {
			f.BoolP(m.name, m.short, false, "accepted, has no meaning here")
		} else {
			f.StringArrayP(m.name, m.short, nil, "accepted, has no meaning here")
		}
		f.MarkHidden(m.name)
	}
	return f
}

func (f *flags) places() {
	o := f.o
	f.StringVar(&f.configFile, "config-file", defaultConfig, "engine configuration `file`, as dockerd's daemon.json")
	f.StringVar(&o.DataRoot, "data-root", o.DataRoot, "`directory` of images, containers, volumes")
	f.StringVar(&f.maxLayer, "max-layer-size", units.BytesSize(float64(o.MaxLayerSize)), "`size` that an image layer may unpack to, against decompression bombs; 0: what the disk has free")
	f.StringVar(&o.ExecRoot, "exec-root", o.ExecRoot, "`directory` of what does not survive a reboot")
	f.StringArrayVarP(&o.Hosts, "host", "H", nil, "listen on `address`: unix://, tcp://, fd:// (repeatable)")
	f.BoolVar(&f.dockerSocket, "docker-socket", false, "also listen on "+dockerSocket)
	f.StringVarP(&o.Group, "group", "G", "", "`group` of the unix sockets (default hoy or docker, whichever exists)")
	f.StringVarP(&o.Pidfile, "pidfile", "p", "", "write the process id into `file`")
	f.StringVar(&o.Keeper, "keeper", "", "`path` of hoy-keeper (default: beside hoyd)")
	f.StringVarP(&o.LogLevel, "log-level", "l", o.LogLevel, "debug, info, warn, error or fatal")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "text or json")
	f.BoolVarP(&o.Debug, "debug", "D", false, "log more")
	f.BoolVar(&o.TLS, "tls", false, "TLS on tcp:// addresses; implied by --tlsverify")
	f.BoolVar(&f.tlsVerify, "tlsverify", false, "TLS, and clients need a certificate")
	f.StringVar(&o.TLSCACert, "tlscacert", "", "`file` of the authority that signs clients' certificates")
	f.StringVar(&o.TLSCert, "tlscert", "", "certificate `file`")
	f.StringVar(&o.TLSKey, "tlskey", "", "key `file`")
	f.BoolVar(&o.Validate, "validate", false, "check the options and end")
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
	f.StringArrayVar(&f.dns, "dns", nil, "name server `address` of containers (repeatable)")
	f.StringArrayVar(&o.DNSSearch, "dns-search", nil, "search `domain` of containers (repeatable)")
	f.StringArrayVar(&o.DNSOptions, "dns-opt", nil, "resolver `option` of containers (repeatable)")
	f.StringArrayVar(&f.hostGateways, "host-gateway-ip", nil, "`address` that host-gateway stands for (default: the bridge's)")
}

func (f *flags) containers() {
	o := f.o
	f.StringVar(&o.CgroupParent, "cgroup-parent", "", "parent `group` of all containers")
	f.StringVar(&o.CgroupnsMode, "default-cgroupns-mode", o.CgroupnsMode, "private or host")
	f.StringVar(&o.IpcMode, "default-ipc-mode", o.IpcMode, "private or shareable")
	f.StringVar(&f.shmSize, "default-shm-size", "64MiB", "`size` of /dev/shm")
	f.StringArrayVar(&f.ulimits, "default-ulimit", nil, "`name=soft:hard` (repeatable)")
	f.BoolVar(&o.Init, "init", false, "an init in every container")
	f.StringVar(&o.InitPath, "init-path", "", "`path` of a static init")
	f.BoolVar(&o.NoNewPrivileges, "no-new-privileges", false, "no_new_privs in every container")
	f.StringVar(&o.LogDriver, "log-driver", o.LogDriver, "default `driver` of logs: json-file, local, journald, syslog, gelf, fluentd or none")
	f.StringArrayVar(&f.logOpts, "log-opt", nil, "`key=value` of the log driver (repeatable)")
	f.StringVar(&o.SeccompProfile, "seccomp-profile", o.SeccompProfile, "builtin or unconfined")
	f.StringVar(&f.userns, "userns-remap", "", "`user[:group]` whose subordinate ids containers get, or default")
}

// Parse reads the flags of `hoyd serve` and the configuration file. warnings name
// what was accepted without having a meaning. --help gives pflag.ErrHelp.
func Parse(args []string) (o Options, warnings []string, err error) {
	o = DefaultOptions()
	f := newFlags(&o)
	if err := f.FlagSet.Parse(args); err != nil {
		return o, nil, err
	}
	if f.NArg() > 0 {
		return o, nil, fault.New(fault.Invalid, "hoyd serve takes no argument: %q", f.Arg(0))
	}
	fromFile, err := f.readFile()
	if err != nil {
		return o, nil, err
	}
	for _, m := range meaningless() {
		switch {
		case f.Changed(m.name) && m.why != "":
			warnings = append(warnings, fmt.Sprintf("--%s has no effect: %s", m.name, m.why))
		case f.Changed(m.name):
			warnings = append(warnings, fmt.Sprintf("--%s has no effect in this engine", m.name))
		}
	}
	warnings = append(warnings, fromFile...)
	if err := f.finish(); err != nil {
		return o, warnings, err
	}
	o.complete()
	return o, warnings, nil
}

// Usage describes the flags.
func Usage() string {
	o := DefaultOptions()
	return "Usage:  hoyd serve [OPTIONS]\n\nThe engine: answers Docker's Engine API.\n\nOptions:\n" + newFlags(&o).FlagUsages()
}

// finish turns texts into values.
func (f *flags) finish() error {
	for _, step := range []func() error{f.finishPlaces, f.finishNetworking, f.finishContainers} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (f *flags) finishPlaces() (err error) {
	o := f.o
	if o.MaxLayerSize, err = units.RAMInBytes(f.maxLayer); err != nil || o.MaxLayerSize < 0 {
		return fault.New(fault.Invalid, "--max-layer-size: invalid size: %q", f.maxLayer)
	}
	if f.Changed("tlsverify") {
		o.TLS, o.TLSVerify = true, f.tlsVerify
	}
	if f.dockerSocket {
		o.complete()
		o.Hosts = append(o.Hosts, dockerSocket)
	}
	if _, err := logLevel(o.LogLevel); err != nil {
		return err
	}
	if o.LogFormat != "text" && o.LogFormat != "json" {
		return fault.New(fault.Invalid, "--log-format: %q is neither text nor json", o.LogFormat)
	}
	for _, h := range o.Hosts {
		if _, _, err := splitHost(h); err != nil {
			return err
		}
	}
	for _, l := range o.Labels {
		if k, _, ok := strings.Cut(l, "="); !ok || k == "" {
			return fault.New(fault.Invalid, "--label: bad attribute format: %s", l)
		}
	}
	return nil
}

func (f *flags) finishNetworking() (err error) {
	o := f.o
	if f.bip != "" {
		if o.BIP, err = netip.ParsePrefix(f.bip); err != nil {
			return fault.New(fault.Invalid, "--bip: %w", err)
		}
	}
	for _, p := range f.pools {
		pool, err := parsePool(p)
		if err != nil {
			return fault.New(fault.Invalid, "--default-address-pool %s: %w", p, err)
		}
		o.Pools = append(o.Pools, pool)
	}
	if o.DNS, err = addresses(f.dns); err != nil {
		return fault.New(fault.Invalid, "--dns: %w", err)
	}
	gateways, err := addresses(f.hostGateways)
	if err != nil {
		return fault.New(fault.Invalid, "--host-gateway-ip: %w", err)
	}
	for _, a := range gateways {
		if a.Is4() {
			o.HostGateway = a
		}
	}
	return nil
}

func (f *flags) finishContainers() (err error) {
	o := f.o
	if o.ShmSize, err = units.RAMInBytes(f.shmSize); err != nil {
		return fault.New(fault.Invalid, "--default-shm-size: %w", err)
	}
	for _, u := range f.ulimits {
		limit, err := units.ParseUlimit(u)
		if err != nil {
			return fault.New(fault.Invalid, "--default-ulimit: %w", err)
		}
		o.Ulimits = append(o.Ulimits, limit)
	}
	if o.LogOpts, err = pairs("--log-opt", f.logOpts); err != nil {
		return err
	}
	for _, c := range []struct {
		flag, value string
		allowed     []string
	}{
		{"default-cgroupns-mode", o.CgroupnsMode, []string{"private", "host"}},
		{"default-ipc-mode", o.IpcMode, []string{"private", "shareable"}},
		{"log-driver", o.LogDriver, spec.LogDrivers()},
		{"seccomp-profile", o.SeccompProfile, []string{"", "builtin", "unconfined"}},
	} {
		if err := oneOf(c.flag, c.value, c.allowed); err != nil {
			return err
		}
	}
	if f.userns != "" {
		o.UserMap, err = subordinateIDs(f.userns)
	}
	return err
}

func oneOf(flag, value string, allowed []string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fault.New(fault.Invalid, "--%s: %q is not one of %s", flag, value, strings.Trim(strings.Join(allowed, ", "), ", "))
}

func addresses(texts []string) (l []netip.Addr, err error) {
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if err != nil {
			return nil, err
		}
		l = append(l, a)
	}
	return l, nil
}

func pairs(flag string, texts []string) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range texts {
		k, v, ok := strings.Cut(t, "=")
		if !ok || k == "" {
			return nil, fault.New(fault.Invalid, "%s: want key=value, not %q", flag, t)
		}
		m[k] = v
	}
	return m, nil
}

// parsePool reads docker's base=172.80.0.0/16,size=24.
func parsePool(s string) (p network.Pool, err error) {
	for part := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "base":
			if p.Base, err = netip.ParsePrefix(v); err != nil {
				return p, err
			}
		case "size":
			if p.Size, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		default:
			return p, fmt.Errorf("unexpected key %q", k)
		}
	}
	if !p.Base.IsValid() || !p.Base.Addr().Is4() || p.Size < p.Base.Bits() || p.Size > 30 {
		return p, fmt.Errorf("want an IPv4 base and a size between its length and 30")
	}
	return p, nil
}

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:4])
}
