package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/linux/caps"
)

var update = flag.Bool("update", false, "write the golden files")

func ptr[T any](v T) *T { return &v }

// fullHost has everything but SELinux and AppArmor.
func fullHost() Host {
	return Host{
		CgroupV2: true, NumCPU: 4, Cpus: "0-3", Mems: "0",
		MemoryLimit: true, SwapLimit: true, MemoryReservation: true, OomKillDisable: true, MemorySwappiness: true,
		CPUShares: true, CPUCfs: true, CPURealtime: true, Cpuset: true,
		BlkioWeight: true, BlkioWeightDevice: true, BlkioThrottle: true,
		PidsLimit: true, CgroupDevices: true,
		CgroupNamespaces: true, Seccomp: true, RecursiveReadOnly: true,
	}
}

func baseInput() Input {
	return Input{
		ID:         "c0ffee",
		Hostname:   "c0ffee",
		Config:     &container.Config{Image: "i", Cmd: []string{"sh", "-c", "true"}},
		HostConfig: &container.HostConfig{},
		Host:       fullHost(),
		Home:       "/root",
		HostsFile:  "/state/hosts", HostnameFile: "/state/hostname", ResolvConf: "/state/resolv.conf",
		CgroupPath: CgroupPath("", "/hoy", "c0ffee"),
		Seccomp: func(profile string, held []string) (*specs.LinuxSeccomp, error) {
			names := []string{"profile:" + profile, "caps:" + strings.Join(held, ",")}
			return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActAllow}}}, nil
		},
	}
}

// TestBuildGolden is docker's options on the left, the specification in
// testdata on the right.
func TestBuildGolden(t *testing.T) {
	for name, change := range goldenCases() {
		t.Run(name, func(t *testing.T) {
			in := baseInput()
			change(&in)
			if _, err := Validate(in.Config, in.HostConfig, nil, in.Host); err != nil {
				t.Fatal(err)
			}
			s, err := Build(in)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, s)
		})
	}
}

func goldenCases() map[string]func(in *Input) {
	return map[string]func(in *Input){
		"default":    func(*Input) {},
		"privileged": func(in *Input) { in.HostConfig.Privileged = true },
		"readonly":   func(in *Input) { in.HostConfig.ReadonlyRootfs = true },
		"hostns": func(in *Input) {
			h := in.HostConfig
			h.NetworkMode, h.PidMode, h.IpcMode, h.UTSMode, h.CgroupnsMode = "host", "host", "host", "host", "host"
		},
		"joined": func(in *Input) {
			h := in.HostConfig
			h.NetworkMode, h.PidMode, h.IpcMode = "container:a", "container:a", "container:a"
			in.NetNS, in.PIDNS, in.IPCNS, in.ShmPath = "/proc/9/ns/net", "/proc/9/ns/pid", "/proc/9/ns/ipc", "/run/a/shm"
		},
		"noipc":   func(in *Input) { in.HostConfig.IpcMode = "none" },
		"limits":  limitsCase,
		"cpus":    func(in *Input) { in.HostConfig.NanoCPUs = 1_500_000_000 },
		"mounts":  mountsCase,
		"devices": devicesCase,
		"sysctls": func(in *Input) {
			in.HostConfig.Sysctls = map[string]string{"net.core.somaxconn": "99", "net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmax": "1"}
		},
		"security": func(in *Input) {
			in.Host.AppArmor, in.Host.SELinux = true, true
			in.AppArmorProfile, in.SELinuxLevel = "hoy-default", "s0:c1,c2"
			in.HostConfig.SecurityOpt = []string{"no-new-privileges", `seccomp={"defaultAction":"SCMP_ACT_ALLOW"}`, "apparmor=mine", "label=type:web_t", "writable-cgroups=true"}
			in.HostConfig.CapDrop, in.HostConfig.CapAdd = []string{"ALL"}, []string{"chown"}
		},
		"unconfined": func(in *Input) {
			in.HostConfig.SecurityOpt = []string{"seccomp=unconfined", "label=disable"}
			in.HostConfig.MaskedPaths, in.HostConfig.ReadonlyPaths = []string{}, []string{}
		},
		"process": processCase,
		"userns":  func(in *Input) { in.Host.UserNamespace = true },
	}
}

func limitsCase(in *Input) {
	in.Host.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 1}, {Name: "nproc", Soft: 7, Hard: 8}}
	in.BlockDevices = map[string]Number{"/dev/sda": {8, 0}}
	throttle := []*blkiodev.ThrottleDevice{{Path: "/dev/sda", Rate: 1024}}
	in.HostConfig.Resources = container.Resources{
		Memory: 64 << 20, MemoryReservation: 32 << 20, MemorySwap: 96 << 20, MemorySwappiness: ptr(int64(60)), OomKillDisable: ptr(true),
		CPUShares: 512, CPUPeriod: 50000, CPUQuota: 25000, CpusetCpus: "0-1", CpusetMems: "0",
		CPURealtimePeriod: 1000000, CPURealtimeRuntime: 950000,
		PidsLimit: ptr(int64(100)), BlkioWeight: 300,
		BlkioWeightDevice:  []*blkiodev.WeightDevice{{Path: "/dev/sda", Weight: 500}},
		BlkioDeviceReadBps: throttle, BlkioDeviceWriteBps: throttle, BlkioDeviceReadIOps: throttle, BlkioDeviceWriteIOps: throttle,
		Ulimits:      []*container.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}},
		CgroupParent: "mine",
	}
	in.CgroupPath = CgroupPath(in.HostConfig.CgroupParent, "/hoy", in.ID)
}

func mountsCase(in *Input) {
	in.HostConfig.ShmSize = 1 << 20
	in.Mounts = []Mount{
		{Type: "bind", Source: "/srv/deep", Destination: "/a/b/c", ReadOnly: true},
		{Type: "bind", Source: "/srv", Destination: "/a", Propagation: "rslave"},
		{Type: "bind", Source: "/etc/other", Destination: "/etc/hosts", NonRecursive: true, ReadOnly: true, ReadOnlyNonRecursive: true},
		{Type: "tmpfs", Destination: "/tmp", Options: []string{"size=64m", "exec", "mode=700"}},
		{Type: "tmpfs", Destination: "/ro", ReadOnly: true},
	}
}

func devicesCase(in *Input) {
	in.HostConfig.Devices = []container.DeviceMapping{{PathOnHost: "/dev/fuse", PathInContainer: "/dev/fuse", CgroupPermissions: "rw"}}
	in.HostConfig.DeviceCgroupRules = []string{"c 42:* rm"}
	in.Devices = []Device{{
		LinuxDevice: specs.LinuxDevice{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, FileMode: ptr(os.FileMode(0o666)), UID: ptr(uint32(0)), GID: ptr(uint32(0))},
		Access:      "rw",
	}}
}

func processCase(in *Input) {
	in.Config = &container.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"arg"}, Tty: true, WorkingDir: "/work/../home",
		Domainname: "example.org", Env: []string{"PATH=/bin", "A=1", "TERM"},
	}
	in.User = specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 7}}
	in.Home = "/home/me"
	in.Host.NoNewPrivileges = true
	h := in.HostConfig
	h.OomScoreAdj, h.Umask, h.ConsoleSize = 500, ptr(uint32(0o27)), [2]uint{24, 80}
	h.Annotations = map[string]string{"org.example": "x"}
}

func golden(t *testing.T, name string, s *specs.Spec) {
	t.Helper()
	// What "every capability" is depends on the machine.
	all, err := caps.Tweak(nil, nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Process.Capabilities; reflect.DeepEqual(c.Bounding, all) {
		s.Process.Capabilities = capabilities([]string{"every capability the engine holds"})
	}
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("differs from %s (see with -update and git diff):\n%s", path, got.Bytes())
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(in *Input)
		want   string
	}{
		"nothing to run": {func(in *Input) { in.Config.Cmd = nil }, "no command specified"},
		"unknown disk":   {func(in *Input) { in.HostConfig.BlkioDeviceReadBps = []*blkiodev.ThrottleDevice{{Path: "/x"}} }, "no such block device"},
		"rro without kernel": {func(in *Input) {
			in.Host.RecursiveReadOnly = false
			in.Mounts = []Mount{{Type: "bind", Destination: "/a", ReadOnly: true, ReadOnlyForceRecursive: true}}
		}, "does not support"},
	} {
		t.Run(name, func(t *testing.T) {
			in := baseInput()
			c.change(&in)
			if _, err := Build(in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestUsesInit(t *testing.T) {
	for _, c := range []struct {
		engine bool
		own    *bool
		pid    container.PidMode
		want   bool
	}{
		{false, nil, "", false}, {true, nil, "", true}, {true, ptr(false), "", false},
		{false, ptr(true), "", true}, {false, ptr(true), "host", false}, {false, ptr(true), "container:a", false},
	} {
		h := &container.HostConfig{Init: c.own, PidMode: c.pid}
		if got := UsesInit(h, Host{Init: c.engine}); got != c.want {
			t.Errorf("engine %v, container %v, pid %q: %v", c.engine, c.own, c.pid, got)
		}
	}
}

func TestCgroupPath(t *testing.T) {
	for _, c := range [][3]string{
		{"", "/hoy", "/hoy/id"}, {"mine", "/hoy", "/mine/id"}, {"/a/b", "/hoy", "/a/b/id"}, {"../../x", "/hoy", "/x/id"},
	} {
		if got := CgroupPath(c[0], c[1], "id"); got != c[2] {
			t.Errorf("CgroupPath(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestProcessEnv(t *testing.T) {
	got := ProcessEnv(&container.Config{Tty: true, Env: []string{"A=1", "A=2", "HOSTNAME", "HOME=/x", "B"}}, "h", "/root")
	want := []string{defaultPath, "TERM=xterm", "A=2", "HOME=/x"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ProcessEnv(&container.Config{}, "h", ""); !reflect.DeepEqual(got, []string{defaultPath, "HOSTNAME=h", "HOME=/"}) {
		t.Errorf("got %q", got)
	}
}

func TestExecProcess(t *testing.T) {
	in := baseInput()
	in.Config.Tty, in.HostConfig.Umask = true, ptr(uint32(0o22))
	s, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ExecProcess(s, ExecRequest{
		Config: in.Config, Args: []string{"id"}, Env: []string{"X=y"}, Cwd: "/tmp",
		User: &specs.User{UID: 5}, Home: "/home/five", Privileged: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{defaultPath, "HOSTNAME=c0ffee", "X=y", "HOME=/home/five"}
	if !reflect.DeepEqual(p.Env, want) || p.Terminal || p.Cwd != "/tmp" || p.User.UID != 5 || *p.User.Umask != 0o22 {
		t.Errorf("got %+v", p)
	}
	if all, _ := caps.Tweak(nil, nil, nil, true); !reflect.DeepEqual(p.Capabilities.Effective, all) {
		t.Errorf("privileged exec has %v", p.Capabilities.Effective)
	}
	if len(s.Process.Args) != 3 || s.Process.User.UID != 0 {
		t.Errorf("the container's own process changed: %+v", s.Process)
	}
	// As the container's own user it has that one's home.
	own, err := ExecProcess(s, ExecRequest{Config: in.Config, Args: []string{"id"}})
	if err != nil || !slices.Contains(own.Env, "HOME="+in.Home) || own.User.UID != 0 {
		t.Errorf("got %+v, %v, want the home %s", own, err, in.Home)
	}
	if _, err := ExecProcess(s, ExecRequest{Config: in.Config}); err == nil {
		t.Error("an exec of nothing was accepted")
	}
}

// TestMounts shows every way to ask for a mount in one list.
func TestMounts(t *testing.T) {
	c := &container.Config{Volumes: map[string]struct{}{"/data": {}, "/a/": {}, "rel/": {}}}
	h := &container.HostConfig{
		Binds:        []string{"/srv:/a:ro,rslave", "vol:/b:nocopy", "/anonymous"},
		VolumeDriver: "local",
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: "/src", Target: "/c", BindOptions: &mount.BindOptions{CreateMountpoint: true}},
			{Type: mount.TypeTmpfs, Target: "/d", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o700, Options: [][]string{{"exec"}}}},
		},
		Tmpfs: map[string]string{"/e": "size=1m,ro"},
	}
	got, err := Mounts(c, h)
	if err != nil {
		t.Fatal(err)
	}
	local := &mount.Driver{Name: "local"}
	want := []MountRequest{
		{Mount: mount.Mount{Type: "bind", Source: "/srv", Target: "/a", ReadOnly: true, BindOptions: &mount.BindOptions{Propagation: "rslave"}}, Mode: "ro,rslave", CreateSource: true},
		{Mount: mount.Mount{Type: "volume", Source: "vol", Target: "/b", VolumeOptions: &mount.VolumeOptions{NoCopy: true, DriverConfig: local}}, Mode: "nocopy"},
		{Mount: mount.Mount{Type: "volume", Target: "/anonymous", VolumeOptions: &mount.VolumeOptions{DriverConfig: local}}},
		{Mount: h.Mounts[0], CreateSource: true},
		{Mount: h.Mounts[1], TmpfsOptions: []string{"mode=700", "size=1048576", "exec"}},
		{Mount: mount.Mount{Type: "tmpfs", Target: "/e", ReadOnly: true}, TmpfsOptions: []string{"size=1m", "ro"}},
		{Mount: mount.Mount{Type: "volume", Target: "/data", VolumeOptions: &mount.VolumeOptions{DriverConfig: local}}, Declared: true},
		{Mount: mount.Mount{Type: "volume", Target: "/rel", VolumeOptions: &mount.VolumeOptions{DriverConfig: local}}, Declared: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func FuzzParseBind(f *testing.F) {
	for _, s := range []string{"/a:/b", "/a:/b:ro", "vol:/b:nocopy", "/x", ":", "a:b:c:d", "/a:/:ro", "/a:/b:ro,rw", "\x00:/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := ParseBind(raw)
		if err == nil && (!strings.HasPrefix(m.Target, "/") || filepath.Clean(m.Target) == "/" || m.Type == mount.TypeBind && !filepath.IsAbs(m.Source)) {
			t.Errorf("ParseBind(%q) = %+v", raw, m)
		}
	})
}

func FuzzParseDeviceRule(f *testing.F) {
	for _, s := range []string{"c 1:3 rwm", "b *:* r", "a 1:* m", "c 99999999999:1 r", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseDeviceRule(text); err == nil && (*r.Major < -1 || *r.Minor < -1 || !r.Allow) {
			t.Errorf("parseDeviceRule(%q) = %+v", text, r)
		}
	})
}

func FuzzParseList(f *testing.F) {
	for _, s := range []string{"0-3,7", "", "1-0", "0-99999999", "-1", "a", "0,0,0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if set, err := parseList(text); err == nil && len(set) > 8192 {
			t.Errorf("parseList(%q) has %d members", text, len(set))
		}
	})
}

func BenchmarkValidateAndBuild(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		in := baseInput()
		in.Seccomp = nil
		if _, err := Validate(in.Config, in.HostConfig, nil, in.Host); err != nil {
			b.Fatal(err)
		}
		if _, err := Build(in); err != nil {
			b.Fatal(err)
		}
	}
}
