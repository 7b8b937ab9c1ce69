package confine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/linux/caps"
	"hoy/linux/landlock"
	"hoy/linux/mount"
	"hoy/linux/spawn"
)

// Descriptors of the child.
const (
	socketFD = 3
	ringFD   = 4
)

// layerDir is where the layer is in the child's root.
const layerDir = "/layer"

// kept are the capabilities of the child: what an archive may ask for its files.
func kept() (caps.Set, error) {
	return caps.Parse([]string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP"})
}

// Limits of the child. Names of directories, headers of members and the Go runtime
// take a few MB; descriptors are needed for the directories used last.
const (
	maxMemory = 512 << 20 // bytes of private memory
	maxOpen   = 128
)

// start makes a child that unpacks into root.
func (u *Unpacker) start(root *os.File) (_ *child, err error) {
	var undo, done cleanup.Stack
	defer done.Run()
	defer undo.Run()
	tree, err := mount.BindFile(root, false)
	if err != nil {
		return nil, err
	}
	done.Add(func() { tree.Close() })
	const attrs = unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	if err := mount.SetAttr(tree, false, attrs, 0, unix.MS_PRIVATE, nil); err != nil {
		return nil, err
	}
	c := &child{}
	if c.ring, err = newRing(); err != nil {
		return nil, err
	}
	undo.Add(c.ring.close)
	if c.said, err = words(); err != nil {
		return nil, err
	}
	undo.Add(func() { c.said.Close() })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	done.Add(func() { theirs.Close() })
	unix.SetNonblock(pair[0], true) // the waiting goroutine occupies no thread
	c.conn = os.NewFile(uintptr(pair[0]), "socket")
	undo.Add(func() { c.conn.Close() })
	var rules *os.File
	if landlock.Version() > 0 {
		rules, err = landlock.Ruleset(
			landlock.Rule{File: tree, Rights: landlock.Build},
			landlock.Rule{File: u.exe, Rights: landlock.Execute | landlock.Read})
		if err != nil {
			return nil, err
		}
		done.Add(func() { rules.Close() })
	}
	s, err := u.script(tree, rules, theirs, c)
	if err != nil {
		return nil, err
	}
	if c.Child, err = run(s); err != nil {
		return nil, err
	}
	undo.Release()
	return c, nil
}

func run(s *spawn.Script) (spawn.Child, error) {
	plan, err := s.Seal()
	if err != nil {
		return spawn.Child{}, err
	}
	defer plan.Close()
	p, err := spawn.Load(plan.Memfd, plan.Files, [3]*os.File{})
	if err != nil {
		return spawn.Child{}, err
	}
	c, err := p.Start(startTime)
	var step *spawn.StepError
	if errors.As(err, &step) {
		err = plan.Explain(step)
	}
	return c, err
}

// script lists the calls that confine the child. The order is that of a container's
// (package runtime); mounts come before landlock, which forbids them.
func (u *Unpacker) script(tree, rules, socket *os.File, c *child) (*spawn.Script, error) {
	keep, err := kept()
	if err != nil {
		return nil, err
	}
	last, err := caps.Last()
	if err != nil {
		return nil, err
	}
	s := spawn.New()
	s.SetClone(spawn.Clone{Flags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS})
	s.Call("create", "session", unix.SYS_SETSID)
	enterRoot(s, tree)
	for i, f := range []*os.File{u.null, u.null, c.said, socket, c.ring.memfd} {
		s.Call("connect", fmt.Sprint("descriptor ", i), unix.SYS_DUP3, s.File(f), spawn.Int(i), spawn.Int(0))
	}
	s.Call("mark", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(ringFD+1), spawn.Uint(1<<32-1), spawn.Int(unix.CLOSE_RANGE_CLOEXEC))
	s.Call("set", "umask", unix.SYS_UMASK, spawn.Int(0o022))
	limit(s, "memory", unix.RLIMIT_DATA, maxMemory)
	limit(s, "open files", unix.RLIMIT_NOFILE, maxOpen)
	limit(s, "core", unix.RLIMIT_CORE, 0)
	s.Call("drop", "additional groups", unix.SYS_SETGROUPS, spawn.Int(0), spawn.Int(0))
	dropCapabilities(s, keep, last)
	prctl(s, "set", "no_new_privs", unix.PR_SET_NO_NEW_PRIVS, 1)
	if rules != nil {
		s.Call("restrict by", "landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, s.File(rules), spawn.Int(0))
	}
	s.Call("set", "signal mask", unix.SYS_RT_SIGPROCMASK, spawn.Int(unix.SIG_SETMASK), s.Words(spawn.Int(0)), spawn.Int(0), spawn.Int(8))
	const instruction = 8 // sizeof(struct sock_filter)
	program := s.Words(spawn.Int(len(u.filter.Program)/instruction), s.Bytes(u.filter.Program))
	s.Call("install", "seccomp filter", unix.SYS_SECCOMP, spawn.Int(unix.SECCOMP_SET_MODE_FILTER), spawn.Uint(uint64(u.filter.Flags)), program)
	s.Call("execute", u.args[0], unix.SYS_EXECVEAT, s.File(u.exe), s.Str(""), s.Strings(u.args), s.Strings(nil), spawn.Int(unix.AT_EMPTY_PATH))
	return s, nil
}

// enterRoot makes the child's root, a tmpfs with /proc and the layer, and leaves the
// host's.
func enterRoot(s *spawn.Script, tree *os.File) {
	cwd, empty, dot := spawn.Int(unix.AT_FDCWD), s.Str(""), s.Str(".")
	s.Call("make private", "mounts", unix.SYS_MOUNT, spawn.Int(0), s.Str("/"), spawn.Int(0), spawn.Uint(unix.MS_REC|unix.MS_PRIVATE), spawn.Int(0))
	root := newMount(s, "tmpfs", "")
	// Only that of the child: /proc/sys is the host's.
	proc := newMount(s, "proc", "subset", "pid")
	s.Call("attach", "root", unix.SYS_MOVE_MOUNT, root, empty, cwd, s.Str("/"), spawn.Uint(unix.MOVE_MOUNT_F_EMPTY_PATH))
	for _, m := range []struct {
		name string
		what spawn.Arg
	}{{"proc", proc}, {layerDir[1:], s.File(tree)}} {
		s.Call("make", m.name, unix.SYS_MKDIRAT, root, s.Str(m.name), spawn.Int(0o700))
		s.Call("mount", m.name, unix.SYS_MOVE_MOUNT, m.what, empty, root, s.Str(m.name), spawn.Uint(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	s.Call("enter", "root", unix.SYS_FCHDIR, root)
	s.Call("change", "root", unix.SYS_PIVOT_ROOT, dot, dot)
	s.Call("unmount", "the host's file systems", unix.SYS_UMOUNT2, dot, spawn.Int(unix.MNT_DETACH))
	attr := s.Words(spawn.Uint(unix.MOUNT_ATTR_RDONLY), spawn.Int(0), spawn.Int(0), spawn.Int(0))
	s.Call("make read-only", "root", unix.SYS_MOUNT_SETATTR, root, empty, spawn.Int(unix.AT_EMPTY_PATH), attr, spawn.Int(32))
	s.Call("enter", "root", unix.SYS_CHDIR, s.Str("/"))
}

// newMount makes a file system in the child.
func newMount(s *spawn.Script, fstype, key string, value ...string) spawn.Arg {
	fs := s.Call("open file system", fstype, unix.SYS_FSOPEN, s.Str(fstype), spawn.Int(unix.FSOPEN_CLOEXEC)).Result()
	for _, v := range value {
		s.Call("configure", fstype, unix.SYS_FSCONFIG, fs, spawn.Int(unix.FSCONFIG_SET_STRING), s.Str(key), s.Str(v), spawn.Int(0))
	}
	s.Call("configure", fstype, unix.SYS_FSCONFIG, fs, spawn.Int(unix.FSCONFIG_CMD_CREATE), spawn.Int(0), spawn.Int(0), spawn.Int(0))
	const attrs = unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	return s.Call("create file system", fstype, unix.SYS_FSMOUNT, fs, spawn.Int(unix.FSMOUNT_CLOEXEC), spawn.Int(attrs)).Result()
}

// limit sets a resource limit, as high as the engine's own at most.
func limit(s *spawn.Script, what string, resource int, max uint64) {
	var own unix.Rlimit
	if err := unix.Getrlimit(resource, &own); err == nil {
		max = min(max, own.Max)
	}
	s.Call("limit", what, unix.SYS_PRLIMIT64, spawn.Int(0), spawn.Int(resource), s.Words(spawn.Uint(max), spawn.Uint(max)), spawn.Int(0))
}

// dropCapabilities leaves keep, last being the kernel's last capability. The exec of a
// program as root gives it what the bounding set has.
func dropCapabilities(s *spawn.Script, keep caps.Set, last int) {
	for i := range last + 1 {
		if keep>>i&1 == 0 {
			prctl(s, "drop", "capability", unix.PR_CAPBSET_DROP, i)
		}
	}
	header := le.AppendUint32(le.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3), 0)
	var data []byte
	for _, shift := range []int{0, 32} {
		set := uint32(keep >> shift)
		data = append(data, message(set, set, 0)...) // effective, permitted, inheritable
	}
	s.Call("set", "capabilities", unix.SYS_CAPSET, s.Bytes(header), s.Bytes(data))
}

// prctl appends a call of prctl(2), whose unused arguments must be zero.
func prctl(s *spawn.Script, step, object string, option, value int) {
	s.Call(step, object, unix.SYS_PRCTL, spawn.Int(option), spawn.Int(value), spawn.Int(0), spawn.Int(0), spawn.Int(0))
}
