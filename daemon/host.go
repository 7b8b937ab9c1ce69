package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/linux/cgroup"
)

// machine finds out what this machine offers.
func machine(groups *cgroup.Host) spec.Host {
	has := func(controller string) bool { return slices.Contains(groups.Controllers(), controller) }
	h := spec.Host{
		CgroupV2: groups.Mode() == cgroup.V2, NumCPU: runtime.NumCPU(),
		MemoryLimit: has("memory"), MemoryReservation: has("memory"),
		CPUShares: has("cpu"), CPUCfs: has("cpu"), Cpuset: has("cpuset"),
		PidsLimit: has("pids"), CgroupDevices: has("devices") || groups.Mode() == cgroup.V2,

		CgroupNamespaces:  exists("/proc/self/ns/cgroup"),
		AppArmor:          strings.HasPrefix(content("/sys/module/apparmor/parameters/enabled"), "Y"),
		SELinux:           exists("/sys/fs/selinux/enforce"),
		Seccomp:           strings.Contains(content("/proc/self/status"), "\nSeccomp:"),
		RecursiveReadOnly: unix.MountSetattr(-1, "", 0, &unix.MountAttr{}) != unix.ENOSYS,
		IPv4ForwardingOff: strings.HasPrefix(content("/proc/sys/net/ipv4/ip_forward"), "0"),
	}
	h.Thermal, _ = filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle")
	files := func(controller string) []string {
		list, err := groups.Files(controller)
		if err != nil {
			slog.Warn("cannot find out what a cgroup controller offers", "controller", controller, "error", err)
		}
		return list
	}
	if h.CgroupV2 {
		hostV2(&h, files)
	} else {
		hostV1(&h, files)
	}
	return h
}

// defaults is what the options make of the machine.
func (o *Options) defaults(h spec.Host) spec.Host {
	h.UserNamespace, h.NoNewPrivileges, h.CgroupnsHost = o.UserMap != nil, o.NoNewPrivileges, o.CgroupnsMode == "host"
	h.IpcShareable, h.DefaultShmSize, h.Init = o.IpcMode == "shareable", o.ShmSize, o.Init
	h.LogDriver, h.Ulimits = o.LogDriver, o.Ulimits
	h.Runtimes, h.DefaultRuntime = o.Runtimes, o.DefaultRuntime
	h.SELinux = h.SELinux && o.SELinux // as with docker: a machine's policy may know no containers
	return h
}

// hostV1 looks for the files of the v1 hierarchies.
func hostV1(h *spec.Host, files func(string) []string) {
	const root = "/sys/fs/cgroup/"
	memory, cpu, block := files("memory"), files("cpu"), files("blkio")
	h.SwapLimit = slices.Contains(memory, "memory.memsw.limit_in_bytes")
	h.OomKillDisable = slices.Contains(memory, "memory.oom_control")
	h.MemorySwappiness = slices.Contains(memory, "memory.swappiness")
	h.CPUCfs = slices.Contains(cpu, "cpu.cfs_quota_us")
	h.CPURealtime = slices.Contains(cpu, "cpu.rt_runtime_us")
	h.BlkioWeight = slices.Contains(block, "blkio.weight") || slices.Contains(block, "blkio.bfq.weight")
	h.BlkioWeightDevice = slices.Contains(block, "blkio.weight_device") || slices.Contains(block, "blkio.bfq.weight_device")
	h.BlkioThrottle = slices.Contains(block, "blkio.throttle.read_bps_device")
	h.Cpus = strings.TrimSpace(content(root + "cpuset/cpuset.cpus"))
	h.Mems = strings.TrimSpace(content(root + "cpuset/cpuset.mems"))
}

// hostV2 looks for the files of the unified hierarchy. Its weights take devices as well.
func hostV2(h *spec.Host, files func(string) []string) {
	const root = "/sys/fs/cgroup/"
	block := files("io")
	h.SwapLimit = slices.Contains(files("memory"), "memory.swap.max")
	h.CPUCfs = slices.Contains(files("cpu"), "cpu.max")
	h.BlkioThrottle = slices.Contains(block, "io.max")
	h.BlkioWeight = slices.Contains(block, "io.weight") || slices.Contains(block, "io.bfq.weight")
	h.BlkioWeightDevice = h.BlkioWeight
	h.Cpus = strings.TrimSpace(content(root + "cpuset.cpus.effective"))
	h.Mems = strings.TrimSpace(content(root + "cpuset.mems.effective"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// keeperPath finds the keeper's program: as told, or beside this one.
func (o *Options) keeperPath() (string, error) {
	if o.Keeper != "" {
		return o.Keeper, nil
	}
	path, err := beside("hoy-keeper")
	if err == nil && !exists(path) {
		err = fault.New(fault.NotFound, "cannot find %s: say --keeper PATH", path)
	}
	return path, err
}

// beside is where a program lies that comes with this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("cannot find %s: %w", name, err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}

// initPath is the static init for --init: as told, or the keeper's program, which is
// one by that name.
func (o *Options) initPath(keeperPath string) string {
	if o.InitPath != "" {
		return o.InitPath
	}
	return keeperPath
}

func logLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug", "trace":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "fatal", "panic":
		return slog.LevelError, nil
	}
	return 0, fault.New(fault.Invalid, "--log-level: %q is not one of debug, info, warn, error, fatal", s)
}

// level is that of the log; debugging wants everything.
func (o *Options) level() slog.Level {
	level, err := logLevel(o.LogLevel)
	if err != nil || o.Debug {
		return slog.LevelDebug
	}
	return level
}

// logger is the log and, unless it is the caller's, its level.
func (o *Options) logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	if o.Log != nil {
		return o.Log, nil, nil
	}
	if _, err := logLevel(o.LogLevel); err != nil {
		return nil, nil, err
	}
	level := new(slog.LevelVar)
	level.Set(o.level())
	ho := &slog.HandlerOptions{Level: level}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, ho)), level, nil
	}
	return slog.New(slog.NewTextHandler(w, ho)), level, nil
}

// needRoot says in one line what is missing.
func needRoot() error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Forbidden, "the engine needs root: start it with sudo")
	}
	return nil
}

// needMount says that a container's root could not take the place of root, the engine's:
// pivot_root(2) and mount propagation want a mount.
func needMount(root string) error {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, root, 0, 0, &st)
	if err == nil && st.Attributes_mask&^st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fault.New(fault.Invalid, "%s is not the root of a mount, as in a chroot, and no container could start: bind the directory to itself first (mount --bind DIR DIR; chroot DIR)", root)
	}
	return nil
}

// ignoring drops an error that is expected.
func ignoring(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
