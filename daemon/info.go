package daemon

import (
	"context"
	"net/netip"
	"os"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/distribution/reference"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	"hoy/container"
	"hoy/container/cdi"
	"hoy/container/spec"
	"hoy/image/confine"
	"hoy/lib/version"
	"hoy/linux/proc"
	"hoy/network/ipam"
	"hoy/registry"
)

// Info describes the engine and the machine.
func (a *about) Info(ctx context.Context) (*system.Info, error) {
	d, o, h := a.d, a.d.options(), &a.d.host
	defer d.measures.about.Time("system_info")()
	running, paused, stopped := d.containers.Count()
	name, _ := os.Hostname()
	list, err := d.images.store.List(ctx)
	if err != nil {
		return nil, err
	}
	i := &system.Info{
		ID: d.id, Name: name, ServerVersion: version.Version,
		Containers: running + paused + stopped, ContainersRunning: running, ContainersPaused: paused, ContainersStopped: stopped,
		Images: len(list), Driver: container.Driver, DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		MemoryLimit: h.MemoryLimit, SwapLimit: h.SwapLimit, CPUCfsPeriod: h.CPUCfs, CPUCfsQuota: h.CPUCfs, CPUShares: h.CPUShares,
		CPUSet: h.Cpuset, PidsLimit: h.PidsLimit, OomKillDisable: h.OomKillDisable, IPv4Forwarding: !h.IPv4ForwardingOff,
		CgroupDriver: "cgroupfs", CgroupVersion: "1", LoggingDriver: o.LogDriver,
		Debug: o.Debug, NFd: openFiles(), NGoroutines: goruntime.NumGoroutine(), NEventsListener: d.bus.Listeners(),
		SystemTime: time.Now().Format(time.RFC3339Nano), KernelVersion: kernelVersion(),
		OSType: goruntime.GOOS, Architecture: architecture(), NCPU: goruntime.NumCPU(), MemTotal: int64(proc.Memory()),
		RegistryConfig: o.registryConfig(), IndexServerAddress: registry.IndexAddress,
		DockerRootDir: o.DataRoot, Labels: append([]string{}, o.Labels...), ExperimentalBuild: o.Experimental,
		HTTPProxy:  maskCredentials(orEnv(o.HTTPProxy, "HTTP_PROXY")),
		HTTPSProxy: maskCredentials(orEnv(o.HTTPSProxy, "HTTPS_PROXY")), NoProxy: orEnv(o.NoProxy, "NO_PROXY"),
		Plugins:  system.PluginsInfo{Volume: []string{"local"}, Network: []string{"bridge", "host", "null"}, Log: spec.LogDrivers()},
		Runtimes: o.runtimes(), DefaultRuntime: o.DefaultRuntime,
		Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive}, LiveRestoreEnabled: o.LiveRestore,
		InitBinary: a.initPath, ContainerdCommit: system.Commit{ID: libraryVersion("github.com/containerd/containerd/v2")},
		RuncCommit: system.Commit{ID: version.Commit}, InitCommit: system.Commit{ID: version.Commit}, // parts of this engine
		SecurityOptions: a.security(o), CDISpecDirs: append([]string{}, o.CDISpecDirs...),
		DiscoveredDevices: []system.DeviceInfo{}, FirewallBackend: &system.FirewallInfo{Driver: "nftables"},
	}
	if h.CgroupV2 {
		i.CgroupVersion = "2"
	}
	i.OperatingSystem, i.OSVersion = release()
	pools := o.Pools
	if len(pools) == 0 {
		pools = ipam.DefaultPools()
	}
	for _, p := range pools {
		i.DefaultAddressPools = append(i.DefaultAddressPools, system.NetworkAddressPool{Base: p.Base, Size: p.Size})
	}
	i.Warnings = a.warnings(o)
	devices, wrong := cdi.Registry(o.CDISpecDirs).Devices()
	for _, d := range devices {
		i.DiscoveredDevices = append(i.DiscoveredDevices, system.DeviceInfo{Source: "cdi", ID: d})
	}
	i.Warnings = append(append(i.Warnings, wrong...), a.d.guard.Warnings()...)
	return i, nil
}

// registryConfig is docker's: besides what was named, this machine's own registries
// need no TLS.
func (o *Options) registryConfig() *apiregistry.ServiceConfig {
	c := &apiregistry.ServiceConfig{
		IndexConfigs:          map[string]*apiregistry.IndexInfo{},
		Mirrors:               append([]string{}, o.Mirrors...),
		InsecureRegistryCIDRs: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")},
	}
	for i, m := range c.Mirrors {
		c.Mirrors[i] = strings.TrimSuffix(m, "/") + "/"
	}
	if n, err := reference.ParseNormalizedNamed("image"); err == nil {
		domain := reference.Domain(n) // the registry of names without one
		c.IndexConfigs[domain] = &apiregistry.IndexInfo{Name: domain, Mirrors: append([]string{}, c.Mirrors...), Secure: true, Official: true}
	}
	for _, r := range o.InsecureRegistries {
		if cidr, err := netip.ParsePrefix(r); err == nil {
			c.InsecureRegistryCIDRs = append(c.InsecureRegistryCIDRs, cidr)
			continue
		}
		c.IndexConfigs[r] = &apiregistry.IndexInfo{Name: r, Mirrors: []string{}}
	}
	return c
}

// orEnv is the option, or else a variable of the engine's environment, in capitals or not.
func orEnv(option, name string) string {
	if option != "" {
		return option
	}
	if v := os.Getenv(name); v != "" {
		return v
	}
	return os.Getenv(strings.ToLower(name))
}

func (a *about) security(o *Options) []string {
	l := []string{}
	h := o.defaults(a.d.host)
	for _, s := range []struct {
		on   bool
		text string
	}{
		{h.AppArmor, "name=apparmor"},
		{h.Seccomp, "name=seccomp,profile=" + o.SeccompProfile},
		{h.SELinux, "name=selinux"},
		{h.UserNamespace, "name=userns"},
		{h.CgroupNamespaces && !h.CgroupnsHost, "name=cgroupns"},
		{h.NoNewPrivileges, "name=no-new-privileges"},
	} {
		if s.on {
			l = append(l, s.text)
		}
	}
	return l
}

// warnings name what this machine's kernel lacks, in docker's words where docker
// has some.
func (a *about) warnings(o *Options) []string {
	h := &a.d.host
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
		{!h.Seccomp, "No seccomp support"},
		{h.Seccomp && o.SeccompProfile != "builtin", "daemon is not using the default seccomp profile"},
		{!h.CgroupNamespaces, "No cgroup namespace support"},
		{!confine.Landlock(), "No landlock support: layers are unpacked without it"},
		{!kernelAtLeast(6, 7), "Kernel older than 6.7: overlays of many layers are mounted by a slower way"},
		{!kernelAtLeast(6, 15), "Kernel older than 6.15: the exit code of a container that ends while the keeper is down is unknown"},
	} {
		if w.missing {
			l = append(l, "WARNING: "+w.text)
		}
	}
	for _, host := range o.Hosts {
		if text := o.exposed(host); text != "" {
			l = append(l, "WARNING: "+text)
		}
	}
	return l
}

// libraryVersion is the version of a module that is linked in.
func libraryVersion(path string) string {
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, m := range b.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return ""
}
