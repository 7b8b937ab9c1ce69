package daemon

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/build"
	"hoy/lib/version"
	"hoy/linux/idmap"
	"hoy/network/firewall"
	"hoy/network/ipam"
	"hoy/shim"
	"hoy/signature"
)

// Options configure an engine. The fields have the names of dockerd's flags, which
// Parse reads; DefaultOptions gives their defaults.
type Options struct {
	DataRoot string   // survives a reboot
	ExecRoot string   // does not
	Hosts    []string // unix://, tcp://, fd://; empty: hoy.sock in the exec root
	Group    string   // of the unix sockets; empty: hoy or docker, whichever exists
	Pidfile  string
	Keeper   string // the hoy-keeper binary; empty: beside this program

	MaxLayerSize int64 // bytes that an image layer may unpack to; 0: what the disk has free
	DiskBudget   int64 // bytes above which images that nothing uses are removed; 0: none

	LogLevel  string // debug, info, warn, error
	LogFormat string // text or json
	Debug     bool

	TLS, TLSVerify             bool
	TLSCACert, TLSCert, TLSKey string // files; empty: ca.pem, cert.pem, key.pem where docker looks for them
	Plain                      bool   // TCP without client certificates is meant: asked for in so many words, or by a link named dockerd
	MetricsAddr                string // host:port for Prometheus; empty: none
	MinAPI                     string // oldest API version that is answered, "1.44"
	LiveRestore                bool   // containers outlive the engine; else its end, or the start of the next one, stops them
	ShutdownTimeout            int    // seconds that requests, and without LiveRestore containers, may go on when the engine ends; negative: until they are done

	Bridge                    string // link of the default network; none: no such network
	BIP                       netip.Prefix
	Pools                     []ipam.Pool
	MTU                       int
	IPMasq                    bool
	DirectRouting             bool // published ports are reached at the containers' own addresses, too
	IPTables, IP6Tables       bool // rules for IPv4, and for IPv6
	ICC                       bool // containers on the default network reach each other
	IPv6                      bool // the default network has it
	BIP6                      netip.Prefix
	FixedCIDR                 netip.Prefix // part of the default network from which containers get addresses
	FixedCIDR6                netip.Prefix
	Gateway                   netip.Addr // default gateway of the default network's containers; invalid: the bridge
	Gateway6                  netip.Addr
	BindIP                    netip.Addr                   // where ports are published that say no address; invalid: everywhere
	NetworkOpts               map[string]map[string]string // options of new networks, by driver
	Admit                     firewall.AdmitMark           // packets that reach every port of containers
	Unguarded                 bool                         // published ports do not ask the host's firewall
	DNS                       []netip.Addr
	DNSSearch                 []string
	DNSOptions                []string
	HostGateway, HostGateway6 netip.Addr

	CgroupParent    string // within the hierarchies; empty: a group for this exec root
	CPURTPeriod     int    // realtime budget of CgroupParent, µs; cgroup v1 only
	CPURTRuntime    int
	CgroupnsMode    string // default for containers: private or host
	IpcMode         string // default for containers: private or shareable
	ShmSize         int64  // default for containers, bytes
	Ulimits         []*apicontainer.Ulimit
	Init            bool // default for containers
	InitPath        string
	NoNewPrivileges bool
	SELinux         bool // label containers
	LogDriver       string
	LogOpts         map[string]string
	SeccompProfile  string // builtin, unconfined or the path of a profile
	seccomp         string // the profile as containers name it: "", unconfined or JSON
	StopTimeout     int    // default for containers, seconds
	CDISpecDirs     []string
	Runtimes        shim.Runtimes // besides hoy's own
	DefaultRuntime  string
	Labels          []string
	Experimental    bool
	Features        map[string]bool
	Builder         build.Config // of the file only
	UserMap         *idmap.Map   // user namespace of the containers; nil: the host's

	Mirrors                        []string // URLs asked before the default registry
	InsecureRegistries             []string // hosts or networks, without TLS or certificates to be trusted
	MaxDownloadAttempts            int      // of a request to a registry; 0: one
	HTTPProxy, HTTPSProxy, NoProxy string   // to registries; empty: as the environment says
	MaxConcurrentDownloads         int      // layers
	MaxConcurrentUploads           int
	SignaturePolicy                string // file that says whose images are pulled; empty: everybody's
	signatures                     *signature.Policy

	Validate bool         // only check the options
	Log      *slog.Logger // nil: to stderr, by LogLevel and LogFormat

	dockerd bool              // started by that name: where it differs, dockerd's default holds
	args    []string          // what Parse read, to be read again when the engine is told to
	values  map[string]string // what the flags and the file said, by flag

	ownGroup bool // CgroupParent is this engine's alone
}

// The places of an engine that is told nothing else.
const (
	DefaultDataRoot = "/var/lib/hoy"
	DefaultExecRoot = "/run/hoy"
	DefaultBridge   = "hoy0"
	defaultConfig   = "/etc/hoy/daemon.json"
	dockerSocket    = "unix:///var/run/docker.sock"
)

// DefaultOptions returns the options of an engine that is told nothing.
func DefaultOptions() Options {
	return Options{
		DataRoot: DefaultDataRoot, ExecRoot: DefaultExecRoot, Bridge: DefaultBridge, IPMasq: true, ICC: true, IPTables: true, IP6Tables: true,
		LogLevel: "info", LogFormat: "text", CgroupnsMode: "private", IpcMode: "private", LogDriver: "json-file",
		SeccompProfile: "builtin", MaxLayerSize: 64 << 30, MinAPI: version.MinAPI, LiveRestore: true, ShutdownTimeout: 15, StopTimeout: 10,
		MaxConcurrentDownloads: 3, MaxConcurrentUploads: 5, MaxDownloadAttempts: 5,
	}
}

// complete fills in what depends on other options.
func (o *Options) complete() {
	o.DataRoot, o.ExecRoot = absolute(o.DataRoot), absolute(o.ExecRoot)
	if o.MinAPI == "" {
		o.MinAPI = version.MinAPI
	}
	if len(o.CDISpecDirs) == 0 && !o.disabled("cdi") {
		o.CDISpecDirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
	if _, given := activatedSockets(); given > 0 && !slices.ContainsFunc(o.Hosts, func(h string) bool { return strings.HasPrefix(h, "fd://") }) {
		o.Hosts = append(o.Hosts, "fd://") // a socket on which nobody answers would keep clients waiting
	}
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"unix://" + filepath.Join(o.ExecRoot, "hoy.sock")}
	}
	if o.CgroupParent == "" {
		o.CgroupParent, o.ownGroup = "/hoy", true
		if o.ExecRoot != DefaultExecRoot {
			// Engines side by side must not touch each other's containers.
			o.CgroupParent += "-" + shortHash(o.ExecRoot)
		}
	}
}

func absolute(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

// disabled reports whether a feature of dockerd's was switched off.
func (o *Options) disabled(feature string) bool {
	on, named := o.Features[feature]
	return named && !on
}

// shutdownTimeout is ShutdownTimeout; negative: none.
func (o *Options) shutdownTimeout() time.Duration {
	return time.Duration(o.ShutdownTimeout) * time.Second
}
