package spec

import (
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/linux/idmap"
	"hoy/shim"
)

// Host says what this machine offers. Validate discards, with docker's
// warning, what it lacks. A flag is true when the feature is there.
type Host struct {
	CgroupV2 bool   // the unified hierarchy carries the controllers
	NumCPU   int    // processors online; 0: unknown, --cpus is not bounded
	Cpus     string // as in cpuset.cpus, "0-3,7"; empty: not checked
	Mems     string // as in cpuset.mems

	// Controllers and their files.
	MemoryLimit, SwapLimit, MemoryReservation, OomKillDisable, MemorySwappiness bool
	CPUShares, CPUCfs, CPURealtime, Cpuset                                      bool
	BlkioWeight, BlkioWeightDevice, BlkioThrottle                               bool
	PidsLimit, CgroupDevices                                                    bool

	CgroupNamespaces  bool
	AppArmor          bool
	SELinux           bool
	Seccomp           bool
	RecursiveReadOnly bool // mount_setattr(AT_RECURSIVE), Linux 5.12
	IPv4ForwardingOff bool
	Thermal           []string // the processors' thermal_throttle directories, to be masked

	// Subnets are those of a network; false: there is no such network. nil: not checked.
	Subnets func(network string) ([]netip.Prefix, bool)

	// What the engine was told.
	UserNamespace   bool                // containers get a user namespace unless --userns=host
	NoNewPrivileges bool                // for every container
	CgroupnsHost    bool                // the default cgroup namespace is the host's
	IpcShareable    bool                // the default IPC mode is "shareable"
	DefaultShmSize  int64               // bytes; 0: docker's 64 MiB
	Init            bool                // the default of --init
	Runtimes        shim.Runtimes       // that containers may ask for besides hoy's own
	DefaultRuntime  string              // "": hoy's own
	LogDriver       string              // the default; "": json-file
	Ulimits         []*container.Ulimit // the default limits
}

// Input is all that Build needs to know. Everything is resolved already: Build
// opens, stats and looks up nothing.
type Input struct {
	ID         string
	Hostname   string                // the UTS name and $HOSTNAME
	Config     *container.Config     // merged with the image's
	HostConfig *container.HostConfig // as Validate accepted it
	Host       Host

	User specs.User // numeric, looked up in the container's files
	Home string     // of that user; "" = "/"

	Mounts       []Mount // everything Mounts (the function) asked for, resolved
	HostsFile    string  // host path of /etc/hosts; "" = the image's own
	HostnameFile string
	ResolvConf   string
	ShmPath      string // host directory for /dev/shm (shareable and container: IPC modes); "" = a private tmpfs

	PIDNS, IPCNS, NetNS string // namespaces to join, "/proc/PID/ns/pid"; "" = by mode

	CgroupPath   string            // within the hierarchies, as CgroupPath (the function) makes it
	Devices      []Device          // host devices already stat'ed; with Privileged all of the host's
	BlockDevices map[string]Number // of the devices that block I/O limits name

	// Seccomp turns a profile into the specification's form for these
	// capabilities: "" is the built-in profile, otherwise docker's JSON. The
	// caller caches. nil: no filter at all.
	Seccomp         func(profile string, caps []string) (*specs.LinuxSeccomp, error)
	SeccompProfile  string // of containers that name none: as --security-opt seccomp= has it; "" = the built-in one
	AppArmorProfile string // the default profile's name where the kernel has AppArmor
	SELinuxLevel    string // this container's own "s0:c1,c2" where the kernel has SELinux
}

// Mount is one file system of the container besides those every container has.
type Mount struct {
	Type                   string // "bind" (also volumes and images) or "tmpfs"
	Source                 string // host path; empty for tmpfs
	Destination            string // absolute and clean
	ReadOnly               bool
	ReadOnlyNonRecursive   bool       // leave mounts below a read-only one writable
	ReadOnlyForceRecursive bool       // fail where the kernel cannot do it
	NonRecursive           bool       // bind without what is mounted below
	Propagation            string     // "" = rprivate
	Options                []string   // tmpfs: size=…, mode=…, flags
	MapIDs                 bool       // show owners by the map of the container's user namespace
	IDs                    *idmap.Map // show owners by this map; nil: by MapIDs
}

// Device is a device node of the host to be made in the container.
type Device struct {
	specs.LinuxDevice        // Path is the container's
	Access            string // letters of "rwm"; "" = no cgroup rule
}

// Number is the major and minor number of a device.
type Number struct{ Major, Minor int64 }
