package daemon

import (
	"bytes"
	"context"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	"hoy/container"
	"hoy/container/spec"
	"hoy/lib/filters"
	"hoy/lib/version"
	"hoy/network"
)

// about tells about the engine as a whole. It implements the server's System.
type about struct {
	o          *Options
	id         string
	host       spec.Host
	mode       string // cgroup layout
	initPath   string
	images     images
	containers *container.Containers
	bus        *container.Bus
}

// Events lets clients listen.
func (a *about) Events(ctx context.Context, since, until time.Time, f filters.Filters) ([]events.Message, <-chan events.Message, error) {
	return a.bus.Events(ctx, since, until, f)
}

// Version says which engine this is.
func (a *about) Version(ctx context.Context) (system.VersionResponse, error) {
	kernel := kernelVersion()
	return system.VersionResponse{
		Platform: system.PlatformInfo{Name: "hoy"},
		Version:  version.Version, APIVersion: version.API, MinAPIVersion: version.MinAPI,
		Os: goruntime.GOOS, Arch: goruntime.GOARCH,
		GitCommit: version.Commit, GoVersion: goruntime.Version(), KernelVersion: kernel, Experimental: a.o.Experimental,
		Components: []system.ComponentVersion{{
			Name: "Engine", Version: version.Version,
			Details: map[string]string{
				"ApiVersion": version.API, "MinAPIVersion": version.MinAPI, "GitCommit": version.Commit,
				"GoVersion": goruntime.Version(), "Os": goruntime.GOOS, "Arch": goruntime.GOARCH,
				"KernelVersion": kernel, "Experimental": strconv.FormatBool(a.o.Experimental),
			},
		}},
	}, nil
}

// Info describes the engine and the machine.
func (a *about) Info(ctx context.Context) (*system.Info, error) {
	running, paused, stopped := a.containers.Count()
	name, _ := os.Hostname()
	list, err := a.images.store.List(ctx)
	if err != nil {
		return nil, err
	}
	h := &a.host
	i := &system.Info{
		ID: a.id, Name: name, ServerVersion: version.Version,
		Containers: running + paused + stopped, ContainersRunning: running, ContainersPaused: paused, ContainersStopped: stopped,
		Images: len(list), Driver: container.Driver, DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		MemoryLimit: h.MemoryLimit, SwapLimit: h.SwapLimit, CPUCfsPeriod: h.CPUCfs, CPUCfsQuota: h.CPUCfs, CPUShares: h.CPUShares,
		CPUSet: h.Cpuset, PidsLimit: h.PidsLimit, OomKillDisable: h.OomKillDisable, IPv4Forwarding: !h.IPv4ForwardingOff,
		CgroupDriver: "cgroupfs", CgroupVersion: "1", LoggingDriver: a.o.LogDriver,
		Debug: a.o.Debug, NFd: openFiles(), NGoroutines: goruntime.NumGoroutine(), NEventsListener: a.bus.Listeners(),
		SystemTime: time.Now().Format(time.RFC3339Nano), KernelVersion: kernelVersion(),
		OSType: goruntime.GOOS, Architecture: machine(), NCPU: goruntime.NumCPU(), MemTotal: memory(),
		DockerRootDir: a.o.DataRoot, Labels: append([]string{}, a.o.Labels...), ExperimentalBuild: a.o.Experimental,
		RegistryConfig: &registry.ServiceConfig{IndexConfigs: map[string]*registry.IndexInfo{}, Mirrors: []string{}},
		Plugins:        system.PluginsInfo{Volume: []string{"local"}, Network: []string{"bridge", "host", "null"}, Log: spec.LogDrivers()},
		Runtimes:       map[string]system.RuntimeWithStatus{"hoy": {}}, DefaultRuntime: "hoy",
		Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive}, LiveRestoreEnabled: true,
		InitBinary: a.initPath, ContainerdCommit: system.Commit{ID: "N/A"}, RuncCommit: system.Commit{ID: "N/A"}, InitCommit: system.Commit{ID: "N/A"},
		SecurityOptions: a.security(), CDISpecDirs: []string{},
		FirewallBackend: &system.FirewallInfo{Driver: "nftables"},
	}
	if h.CgroupV2 {
		i.CgroupVersion = "2"
	}
	i.OperatingSystem, i.OSVersion = release()
	pools := a.o.Pools
	if len(pools) == 0 {
		pools = network.DefaultPools()
	}
	for _, p := range pools {
		i.DefaultAddressPools = append(i.DefaultAddressPools, system.NetworkAddressPool{Base: p.Base, Size: p.Size})
	}
	i.Warnings = a.warnings()
	return i, nil
}

func (a *about) security() []string {
	l := []string{}
	for _, s := range []struct {
		on   bool
		text string
	}{
		{a.host.AppArmor, "name=apparmor"},
		{a.host.Seccomp, "name=seccomp,profile=builtin"},
		{a.host.SELinux, "name=selinux"},
		{a.host.UserNamespace, "name=userns"},
		{a.host.CgroupNamespaces && !a.host.CgroupnsHost, "name=cgroupns"},
		{a.host.NoNewPrivileges, "name=no-new-privileges"},
	} {
		if s.on {
			l = append(l, s.text)
		}
	}
	return l
}

// warnings name what this machine's kernel lacks, in docker's words where docker
// has some.
func (a *about) warnings() []string {
	h := &a.host
	var l []string
	for _, w := range []struct {
		missing bool
		text    string
	}{
		{!h.MemoryLimit, "No memory limit support"},
		{!h.SwapLimit, "No swap limit support"},
		{!h.OomKillDisable && !h.CgroupV2, "No oom kill disable support"},
		{!h.CPUCfs, "No cpu cfs quota support"},
		{!h.CPUCfs, "No cpu cfs period support"},
		{!h.CPUShares, "No cpu shares support"},
		{!h.Cpuset, "No cpuset support"},
		{!h.PidsLimit, "No pids limit support"},
		{!h.BlkioWeight && h.CgroupV2, "No io.weight support"},
		{!h.BlkioThrottle, "No block I/O throttling support"},
		{h.IPv4ForwardingOff, "IPv4 forwarding is disabled"},
		{!h.Seccomp && a.o.SeccompProfile != "unconfined", "No seccomp support"},
		{a.o.SeccompProfile == "unconfined", "the engine is not using the default seccomp profile"},
		{!h.CgroupNamespaces, "No cgroup namespace support"},
		{!kernelAtLeast(6, 7), "Kernel older than 6.7: overlays of many layers are mounted by a slower way"},
		{!kernelAtLeast(6, 15), "Kernel older than 6.15: the exit code of a container that ends while the keeper is down is unknown"},
	} {
		if w.missing {
			l = append(l, "WARNING: "+w.text)
		}
	}
	for _, host := range a.o.Hosts {
		scheme, address, err := splitHost(host)
		switch {
		case err != nil || scheme != "tcp":
		case !a.o.TLS:
			l = append(l, "WARNING: API is accessible on http://"+address+" without encryption: access to it is root on this machine")
		case !a.o.TLSVerify:
			l = append(l, "WARNING: API is accessible on https://"+address+" without TLS client verification: access to it is root on this machine")
		}
	}
	return l
}

func kernelVersion() string {
	var u unix.Utsname
	unix.Uname(&u)
	return text(u.Release[:])
}

func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	return text(u.Machine[:])
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

func kernelAtLeast(major, minor int) bool {
	part := strings.SplitN(kernelVersion(), ".", 3)
	if len(part) < 2 {
		return false
	}
	a, _ := strconv.Atoi(part[0])
	b, _ := strconv.Atoi(strings.TrimRight(part[1], "-+abcdefghijklmnopqrstuvwxyz"))
	return a > major || a == major && b >= minor
}

func memory() int64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return int64(s.Totalram) * int64(s.Unit)
}

func openFiles() int {
	l, _ := os.ReadDir("/proc/self/fd")
	return len(l)
}

// release reads os-release(5).
func release() (name, version string) {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		for line := range strings.Lines(content(path)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch v = strings.Trim(v, `"'`); k {
			case "PRETTY_NAME":
				name = v
			case "VERSION_ID":
				version = v
			}
		}
		if name != "" {
			return name, version
		}
	}
	return "Linux", version
}
