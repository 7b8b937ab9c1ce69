package spec

import (
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Host says what this machine offers. Validate discards, with docker's
// warning, what it lacks; Build leaves out what it cannot have. A field is true
// when the feature is there.
type Host struct {
	CgroupV2 bool // the unified hierarchy carries the controllers
	NumCPU   int  // processors online; 0: unknown, --cpus is not bounded
	Cpus     string
	Mems     string // lists as in cpuset.cpus, "0-3,7"; empty: not checked

	// Controllers and their files.
	MemoryLimit, SwapLimit, MemoryReservation, OomKillDisable, MemorySwappiness bool
	CPUShares, CPUCfs, CPURealtime, Cpuset                                      bool
	BlkioWeight, BlkioWeightDevice, BlkioThrottle                               bool
	PidsLimit, CgroupDevices                                                    bool

	CgroupNamespaces     bool
	AppArmor             bool
	SELinux              bool
	Seccomp              bool
	RecursiveReadOnly    bool // mount_setattr(AT_RECURSIVE), Linux 5.12
	UserNamespace        bool // containers get a user namespace unless --userns=host
	IPv4ForwardingOff    bool
	NoNewPrivileges      bool // the engine's default for every container
	CgroupnsHost         bool // the engine's default cgroup namespace is the host's
	IpcShareable         bool // the engine's default IPC mode is "shareable"
	DefaultShmSize       int64
	Init                 bool                // the engine's default for --init
	Runtimes, LogDrivers []string            // accepted names; nil: built-in ones only
	Ulimits              []*container.Ulimit // the engine's default limits
}

// Input is all that Build needs to know. Everything is resolved already: Build
// opens, stats and looks up nothing.
type Input struct {
	ID         string
	Hostname   string                // the UTS name; ignored with the host's UTS namespace
	Config     *container.Config     // merged with the image's
	HostConfig *container.HostConfig // as Validate accepted it
	Host       Host

	User specs.User // numeric, looked up in the container's files
	Home string     // of that user, "" = "/"

	Mounts                              []Mount // volumes, binds and tmpfs the caller resolved (volumes-from, image volumes, HostConfig.Mounts)
	HostsFile, HostnameFile, ResolvConf string  // host paths of the files of /etc; "" = none
	ShmPath                             string  // host directory for /dev/shm (shareable and container: IPC modes); "" = a private tmpfs

	PIDNS, IPCNS, NetNS string   // namespaces to join, "/proc/PID/ns/pid"; "" = by mode
	CgroupPath          string   // within the hierarchies, "/hoy/ID"
	Devices             []Device // host devices already stat'ed; with Privileged all of the host's
	InitPath            string   // host path of the static init, used with --init
	// Seccomp turns a profile into the specification's form for these
	// capabilities: "" is the built-in profile, otherwise docker's JSON. The
	// caller caches. nil: no filter at all.
	Seccomp         func(profile string, caps []string) (*specs.LinuxSeccomp, error)
	AppArmorProfile string // the default profile's name where the kernel has AppArmor
}

// Mount is one file system of the container besides those every container has.
type Mount struct {
	Type        string // "bind" (also volumes and images) or "tmpfs"
	Source      string // host path; empty for tmpfs
	Destination string // absolute and clean
	ReadOnly    bool
	// ReadOnlyNonRecursive leaves mounts below a read-only one writable.
	ReadOnlyNonRecursive bool
	// ReadOnlyForceRecursive fails where the kernel cannot do it.
	ReadOnlyForceRecursive bool
	NonRecursive           bool     // bind without what is mounted below
	Propagation            string   // "" = rprivate
	Options                []string // tmpfs: size=…, mode=…, flags
}

// Device is a device node of the host to be made in the container.
type Device struct {
	specs.LinuxDevice        // Path is the container's
	Access            string // letters of "rwm"; "" = no cgroup rule
}
