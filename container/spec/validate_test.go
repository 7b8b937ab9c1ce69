package spec

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

// request is an empty one, with everything in place to be changed.
type request struct {
	c    *container.Config
	h    *container.HostConfig
	e    *network.EndpointSettings
	n    *network.NetworkingConfig
	host Host
}

func newRequest(change func(*request)) *request {
	r := &request{c: &container.Config{}, h: &container.HostConfig{}, e: &network.EndpointSettings{}, host: fullHost()}
	r.n = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"bridge": r.e}}
	change(r)
	return r
}

func (r *request) validate() ([]string, error) { return Validate(r.c, r.h, r.n, r.host) }

// TestValidateErrors has docker's texts where docker has one.
func TestValidateErrors(t *testing.T) {
	for want, change := range map[string]func(*request){
		"Minimum memory limit allowed is 6MB":                                        func(r *request) { r.h.Memory = 1 << 20 },
		"Minimum memoryswap limit should be larger than memory limit, see usage":     func(r *request) { r.h.Memory, r.h.MemorySwap = 64<<20, 32<<20 },
		"You should always set the Memory limit when using Memoryswap limit":         func(r *request) { r.h.MemorySwap = 64 << 20 },
		"Minimum memory limit can not be less than memory reservation limit":         func(r *request) { r.h.Memory, r.h.MemoryReservation = 32<<20, 64<<20 },
		"valid memory swappiness range is 0-100":                                     func(r *request) { r.h.MemorySwappiness = ptr(int64(101)) },
		"range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available":     func(r *request) { r.h.NanoCPUs = 5e9 },
		"Conflicting options: Nano CPUs and CPU Period cannot both be set":           func(r *request) { r.h.NanoCPUs, r.h.CPUPeriod = 1e9, 10000 },
		"Conflicting options: Nano CPUs and CPU Quota cannot both be set":            func(r *request) { r.h.NanoCPUs, r.h.CPUQuota = 1e9, 10000 },
		"CPU cfs period can not be less than 1ms":                                    func(r *request) { r.h.CPUPeriod = 1 },
		"CPU cfs quota can not be less than 1ms":                                     func(r *request) { r.h.CPUQuota = 1 },
		"invalid CPU shares (-1): value must be a positive integer":                  func(r *request) { r.h.CPUShares = -1 },
		"kernel does not support CPU real-time scheduler":                            func(r *request) { r.host.CPURealtime, r.h.CPURealtimePeriod = false, 1000 },
		"cpu real-time runtime cannot be higher than cpu real-time period":           func(r *request) { r.h.CPURealtimePeriod, r.h.CPURealtimeRuntime = 1, 2 },
		"Invalid value , for cpuset cpus: invalid format: ,":                         func(r *request) { r.h.CpusetCpus = "," },
		"Invalid value   for cpuset mems":                                            func(r *request) { r.h.CpusetMems = " " },
		"invalid cgroup-parent: its 70000 bytes are more than 3072":                  func(r *request) { r.h.CgroupParent = strings.Repeat("x/", 35_000) },
		"invalid cgroup-parent: a name in it has 300 bytes, more than 255":           func(r *request) { r.h.CgroupParent = "/a/" + strings.Repeat("x", 300) },
		"invalid cgroup-parent \"a\\nb\": must not contain a NUL byte or a line end": func(r *request) { r.h.CgroupParent = "a\nb" },
		"Invalid value x for cpuset cpus":                                            func(r *request) { r.h.CpusetCpus = "x" },
		"Requested CPUs are not available - requested 7, available: 0-3":             func(r *request) { r.h.CpusetCpus = "7" },
		"Requested memory nodes are not available - requested 1, available: 0":       func(r *request) { r.h.CpusetMems = "1" },
		"Range of blkio weight is from 10 to 1000":                                   func(r *request) { r.h.BlkioWeight = 5 },
		"hostname \"" + strings.Repeat("h", 65) + "\" is too long":                   func(r *request) { r.c.Hostname = strings.Repeat("h", 65) },
		"the working directory 'a' is invalid, it needs to be an absolute path":      func(r *request) { r.c.WorkingDir = "a" },
		"invalid signal: SIGNOPE":                                                    func(r *request) { r.c.StopSignal = "SIGNOPE" },
		"invalid environment variable: =x":                                           func(r *request) { r.c.Env = []string{"=x"} },
		"contains a NUL byte":                                                        func(r *request) { r.c.Cmd = []string{"a\x00b"} },
		"Interval in Healthcheck cannot be less than 1ms":                            func(r *request) { r.c.Healthcheck = &container.HealthConfig{Interval: 1} },
		"conflicting options: hostname and the UTS mode":                             func(r *request) { r.h.UTSMode, r.c.Hostname = "host", "h" },
		"conflicting options: hostname and the network mode":                         func(r *request) { r.h.NetworkMode, r.c.Hostname = "container:a", "h" },
		"invalid network mode: invalid container format container:<name|id>":         func(r *request) { r.h.NetworkMode = "container:" },
		"conflicting options: port publishing and the container type network mode":   func(r *request) { r.h.NetworkMode, r.h.PublishAllPorts = "container:a", true },
		"bad format for links: a:":                                                   func(r *request) { r.h.Links = []string{"a:"} },
		"invalid link-local IP address: 0.0.0.0": func(r *request) {
			r.e.IPAMConfig = &network.EndpointIPAMConfig{LinkLocalIPs: []netip.Addr{addr("0.0.0.0")}}
		},
		"invalid IPC mode: nope":                                                     func(r *request) { r.h.IpcMode = "nope" },
		"invalid PID mode: container:":                                               func(r *request) { r.h.PidMode = "container:" },
		"invalid UTS mode: nope":                                                     func(r *request) { r.h.UTSMode = "nope" },
		"invalid cgroup namespace mode: nope":                                        func(r *request) { r.h.CgroupnsMode = "nope" },
		"SHM size can not be less than 0":                                            func(r *request) { r.h.ShmSize = -1 },
		"Invalid value 1001, range for oom score adj is [-1000, 1000]":               func(r *request) { r.h.OomScoreAdj = 1001 },
		"unknown or invalid runtime name: nope":                                      func(r *request) { r.h.Runtime = "nope" },
		"sysctl \"vm.swappiness\" is not in a separate kernel namespace":             func(r *request) { r.h.Sysctls = map[string]string{"vm.swappiness": "1"} },
		"sysctl \"net.core.somaxconn\" not allowed in host network namespace":        func(r *request) { r.h.NetworkMode, r.h.Sysctls = "host", map[string]string{"net.core.somaxconn": "1"} },
		"sysctl \"kernel.msgmax\" is not allowed in the hosts ipc namespace":         func(r *request) { r.h.IpcMode, r.h.Sysctls = "host", map[string]string{"kernel.msgmax": "1"} },
		"invalid --security-opt 1: \"nope\"":                                         func(r *request) { r.h.SecurityOpt = []string{"nope"} },
		"invalid --security-opt: \"seccomp={\"":                                      func(r *request) { r.h.SecurityOpt = []string{"seccomp={"} },
		"bad label option \"x:y\"":                                                   func(r *request) { r.h.SecurityOpt = []string{"label=x:y"} },
		"invalid CapAdd: unknown capability: \"CAP_NOPE\"":                           func(r *request) { r.h.CapAdd = []string{"NOPE"} },
		"invalid device cgroup rule format: 'x'":                                     func(r *request) { r.h.DeviceCgroupRules = []string{"x"} },
		"invalid device mode: x":                                                     func(r *request) { r.h.Devices = []container.DeviceMapping{{PathOnHost: "/a", CgroupPermissions: "x"}} },
		"invalid ulimit type":                                                        func(r *request) { r.h.Ulimits = []*container.Ulimit{{Name: "x"}} },
		"ulimit soft limit must be less than or equal to hard limit: 2 > 1":          func(r *request) { r.h.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 2, Hard: 1}} },
		"invalid mount path: 'a' mount path must be absolute":                        func(r *request) { r.h.Mounts = []mount.Mount{{Type: "tmpfs", Target: "a"}} },
		"invalid mount config for type \"bind\": field Source must not be empty":     func(r *request) { r.h.Mounts = []mount.Mount{{Type: "bind", Target: "/a"}} },
		"invalid mount config for type \"x\": mount type unknown":                    func(r *request) { r.h.Mounts = []mount.Mount{{Type: "x", Target: "/a"}} },
		"Duplicate mount point: /a":                                                  func(r *request) { r.h.Binds = []string{"/x:/a", "/y:/a/"} },
		"invalid mode: rw,ro":                                                        func(r *request) { r.h.Binds = []string{"/x:/a:rw,ro"} },
		"invalid volume specification: '/x:/a:ro:z'":                                 func(r *request) { r.h.Binds = []string{"/x:/a:ro:z"} },
		"includes invalid characters for a local volume name":                        func(r *request) { r.h.Binds = []string{"../x:/a"} },
		"create v: volume name is too short":                                         func(r *request) { r.h.Binds = []string{"v:/a"} },
		"destination can't be '/'":                                                   func(r *request) { r.h.Tmpfs = map[string]string{"/": ""} },
		"invalid tmpfs option \"nope\"":                                              func(r *request) { r.h.Tmpfs = map[string]string{"/a": "nope"} },
		"invalid restart policy: unknown policy 'x'":                                 func(r *request) { r.h.RestartPolicy.Name = "x" },
		"can't create 'AutoRemove' container with restart policy":                    func(r *request) { r.h.AutoRemove, r.h.RestartPolicy.Name = true, "always" },
		"error looking up logging plugin x: plugin \"x\" not found":                  func(r *request) { r.h.LogConfig.Type = "x" },
		"unknown log opt 'x' for json-file log driver":                               func(r *request) { r.h.LogConfig.Config = map[string]string{"x": "y"} },
		"bad format for add-host: \"x\"":                                             func(r *request) { r.h.ExtraHosts = []string{"x"} },
		"invalid IP address in add-host: \"1\"":                                      func(r *request) { r.h.ExtraHosts = []string{"x:1"} },
		"privileged mode is incompatible with user namespaces":                       func(r *request) { r.host.UserNamespace, r.h.Privileged = true, true },
		"cannot share the host's network namespace when user namespaces are enabled": func(r *request) { r.host.UserNamespace, r.h.NetworkMode = true, "host" },
		"user-specified IP address is supported on user-defined networks only":       func(r *request) { r.e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: addr("10.0.0.9")} },
		"network-scoped aliases are only supported for user-defined networks":        func(r *request) { r.e.Aliases = []string{"a"} },
		"invalid cgroup-parent":                                                      func(r *request) { r.h.CgroupParent = "a/../../b" },
		"invalid option: QoS maximum IOPs configuration is not supported on linux":   func(r *request) { r.h.IOMaximumIOps = 1 },
		"invalid isolation (hyperv): linux only supports 'default'":                  func(r *request) { r.h.Isolation = "hyperv" },
		"seccomp is not enabled in your kernel, cannot run a custom seccomp profile": func(r *request) { r.host.Seccomp, r.h.SecurityOpt = false, []string{"seccomp={}"} },
		"NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler": func(r *request) { r.host.CPUCfs, r.h.NanoCPUs = false, 1e9 },
		"host type networking can't be used with links":                              func(r *request) { r.h.NetworkMode, r.h.Links = "host", []string{"a:b"} },
		"invalid DNS option or search domain":                                        func(r *request) { r.h.DNSSearch = []string{"a\nnameserver 6.6.6.6"} },
		"mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive": func(r *request) {
			r.h.Mounts = []mount.Mount{{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, BindOptions: &mount.BindOptions{ReadOnlyNonRecursive: true, ReadOnlyForceRecursive: true}}}
		},
		"invalid masked or read-only path":                                            func(r *request) { r.h.MaskedPaths = []string{"proc"} },
		"invalid Annotations: the empty string is not permitted as an annotation key": func(r *request) { r.h.Annotations = map[string]string{"": "x"} },
		"config cannot be empty in order to create a container":                       func(r *request) { r.c = nil },
	} {
		_, err := newRequest(change).validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		} else if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound {
			t.Errorf("%s: kind %v", want, k)
		}
	}
}

// TestValidateWarnings discards what this kernel lacks and says so.
func TestValidateWarnings(t *testing.T) {
	for want, change := range map[string]func(*request){
		"Your kernel does not support memory limit capabilities":       func(r *request) { r.host.MemoryLimit, r.h.Memory = false, 64<<20 },
		"Your kernel does not support swap limit capabilities":         func(r *request) { r.host.SwapLimit, r.h.Memory = false, 64<<20 },
		"Your kernel does not support memory swappiness":               func(r *request) { r.host.MemorySwappiness, r.h.MemorySwappiness = false, ptr(int64(1)) },
		"Your kernel does not support memory soft limit":               func(r *request) { r.host.MemoryReservation, r.h.MemoryReservation = false, 64<<20 },
		"Your kernel does not support OomKillDisable":                  func(r *request) { r.host.OomKillDisable, r.h.OomKillDisable = false, ptr(true) },
		"OOM killer is disabled for the container":                     func(r *request) { r.h.OomKillDisable = ptr(true) },
		"Your kernel does not support CPU shares":                      func(r *request) { r.host.CPUShares, r.h.CPUShares = false, 2 },
		"Your kernel does not support CPU CFS scheduler":               func(r *request) { r.host.CPUCfs, r.h.CPUQuota = false, 2000 },
		"Your kernel does not support cpuset":                          func(r *request) { r.host.Cpuset, r.h.CpusetCpus = false, "0" },
		"Your kernel does not support Block I/O weight or":             func(r *request) { r.host.BlkioWeight, r.h.BlkioWeight = false, 100 },
		"Your kernel does not support PIDs limit":                      func(r *request) { r.host.PidsLimit, r.h.PidsLimit = false, ptr(int64(3)) },
		"Your kernel does not support cgroup namespaces":               func(r *request) { r.host.CgroupNamespaces, r.h.CgroupnsMode = false, "private" },
		"Your kernel does not support AppArmor":                        func(r *request) { r.h.SecurityOpt = []string{"apparmor=x"} },
		"Your kernel does not support SELinux. Label type:x discarded": func(r *request) { r.h.SecurityOpt = []string{"label=type:x"} },
		"IPv4 forwarding is disabled":                                  func(r *request) { r.host.IPv4ForwardingOff = true },
		"Published ports are discarded when using host network mode": func(r *request) {
			r.h.NetworkMode, r.h.PortBindings = "host", network.PortMap{network.MustParsePort("80"): nil}
		},
		"Link addresses are discarded when using none network mode": func(r *request) {
			r.h.NetworkMode, r.e.MacAddress = "none", network.HardwareAddr{2, 0, 0, 0, 0, 1}
		},
		"linux does not support CPU percent": func(r *request) { r.h.CPUPercent = 1 },
	} {
		warnings, err := newRequest(change).validate()
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("got %q and %v, want %s", warnings, err, want)
		}
	}
}

// The driver none has no options, and takes those of another: a file that overrides the
// driver alone leaves them where they are.
func TestValidateNoLog(t *testing.T) {
	r := newRequest(func(r *request) {
		r.h.LogConfig = container.LogConfig{Type: "none", Config: map[string]string{"max-size": "1m"}}
	})
	if warnings, err := r.validate(); err != nil || len(warnings) > 0 {
		t.Error(warnings, err)
	}
}

// TestValidateDefaults is what inspect shows of an empty request.
func TestValidateDefaults(t *testing.T) {
	r := newRequest(func(r *request) {
		r.h.Memory, r.h.PidsLimit, r.h.MemorySwappiness = 64<<20, ptr(int64(-1)), ptr(int64(-1))
	})
	if warnings, err := r.validate(); err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	got := *r.h
	if got.MemorySwap != 128<<20 || got.PidsLimit != nil || got.MemorySwappiness != nil || got.ShmSize != 64<<20 ||
		got.IpcMode != "private" || got.CgroupnsMode != "private" || got.RestartPolicy.Name != "no" ||
		got.LogConfig.Type != "json-file" || got.NetworkMode != "bridge" ||
		!reflect.DeepEqual(got.MaskedPaths, maskedPaths(nil)) || !reflect.DeepEqual(got.ReadonlyPaths, readonlyPaths()) {
		t.Errorf("got %+v", got)
	}
	again := newRequest(func(n *request) { n.c, n.h, n.n = r.c, r.h, r.n })
	if warnings, err := again.validate(); err != nil || len(warnings) > 0 {
		t.Errorf("what came out is not accepted again: %v, %v", warnings, err)
	}
	old := newRequest(func(r *request) { r.host.CgroupV2, r.h.Privileged = false, true })
	if _, err := old.validate(); err != nil || old.h.CgroupnsMode != "host" || old.h.MaskedPaths != nil {
		t.Errorf("privileged on cgroup v1: %v, %v, %v", err, old.h.CgroupnsMode, old.h.MaskedPaths)
	}
	disabled := newRequest(func(r *request) { r.c.NetworkDisabled = true })
	if _, err := disabled.validate(); err != nil || !disabled.h.NetworkMode.IsNone() {
		t.Errorf("network disabled: %v, %v", err, disabled.h.NetworkMode)
	}
}

// TestAddressSaidTwice creates as Compose does, which says an address of its files in two
// places: nothing is discarded with the second.
func TestAddressSaidTwice(t *testing.T) {
	r := newRequest(func(r *request) {
		r.h.NetworkMode = "own"
		r.n.EndpointsConfig = map[string]*network.EndpointSettings{"own": r.e}
		r.e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: addr("10.0.0.9"), IPv6Address: addr("fd00::9")}
		r.e.IPAddress, r.e.IPv6Gateway = addr("10.0.0.9"), addr("fd00::9")
	})
	if warnings, err := r.validate(); err != nil || len(warnings) != 0 {
		t.Errorf("%q, %v", warnings, err)
	}
}
