package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/caps"
	"hoy/linux/seccomp"
)

// spec is what docker gives a container without any options.
func spec(filter *specs.LinuxSeccomp) *specs.Spec {
	names := caps.Default()
	s := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: []string{"/bin/true"}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names},
		},
		Hostname: "floor",
		Linux: &specs.Linux{
			Seccomp: filter,
			MaskedPaths: []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	for _, n := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace} {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: n})
	}
	for _, m := range []struct{ path, kind, options string }{
		{"/proc", "proc", "nosuid,noexec,nodev"},
		{"/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
		{"/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"/sys", "sysfs", "nosuid,noexec,nodev,ro"},
		{"/dev/mqueue", "mqueue", "nosuid,noexec,nodev"},
		{"/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	} {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: m.path, Type: m.kind, Source: m.kind, Options: strings.Split(m.options, ",")})
	}
	return s
}

// attributes are the mount options that are not the file system's own.
var attributes = map[string]uint{
	"nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
	"ro": unix.MOUNT_ATTR_RDONLY, "strictatime": unix.MOUNT_ATTR_STRICTATIME,
}

// describe puts a container into the words of c/floor.c.
func describe(s *specs.Spec, dir string, groups []string) (string, error) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	filter, err := seccomp.Compile(s.Linux.Seccomp)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "seccomp")
	if err := os.WriteFile(program, filter.Program, 0o600); err != nil {
		return "", err
	}
	say("lower %s\nscratch %s", filepath.Join(dir, "lower"), filepath.Join(dir, "scratch"))
	say("clone %x", unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS)
	say("seccomp %s\nflags %d\nhostname %s\nexec %s", program, filter.Flags, s.Hostname, s.Process.Args[0])
	for _, g := range groups {
		describeGroup(say, g)
	}
	for _, m := range s.Mounts {
		attr, data := uint(0), ""
		for _, o := range m.Options {
			if a, ok := attributes[o]; ok {
				attr |= a
			} else {
				data += " " + o
			}
		}
		say("mount %s %d %s%s", m.Type, attr, m.Destination, data)
	}
	say("node null 1:3\nnode zero 1:5\nnode full 1:7\nnode random 1:8\nnode urandom 1:9\nnode tty 5:0")
	say("link fd /proc/self/fd\nlink stdin /proc/self/fd/0\nlink stdout /proc/self/fd/1\nlink stderr /proc/self/fd/2")
	say("link ptmx pts/ptmx\nlink core /proc/kcore")
	for _, p := range s.Linux.MaskedPaths {
		say("mask %s", p)
	}
	for _, p := range s.Linux.ReadonlyPaths {
		say("readonly %s", p)
	}
	held, err := caps.Parse(s.Process.Capabilities.Effective)
	say("caps %x", uint64(held))
	return b.String(), err
}

// describeGroup tells floor.c to make a group. One of the cpuset controller takes
// nobody before it has processors and memory, unless it inherits them.
func describeGroup(say func(string, ...any), dir string) {
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "tasks")); err != nil {
		say("group v2 %s", dir)
		return
	}
	say("group v1 %s", dir)
	inherits, _ := os.ReadFile(filepath.Join(filepath.Dir(dir), "cgroup.clone_children"))
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		if v, err := os.ReadFile(filepath.Join(filepath.Dir(dir), f)); err == nil && strings.TrimSpace(string(inherits)) != "1" {
			say("set %s %s", filepath.Join(dir, f), strings.TrimSpace(string(v)))
		}
	}
}

// groupsNamed lists the directories of a cgroup in all hierarchies.
func groupsNamed(name string) (dirs []string, err error) {
	const root = "/sys/fs/cgroup"
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // a group that went away
		case d.Type()&fs.ModeSymlink == 0 && d.Name() == name:
			dirs = append(dirs, p)
		}
		return nil
	})
	return dirs, err
}
