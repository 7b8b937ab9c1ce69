package runtime

import (
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
	"hoy/linux/spawn"
)

// atCWD is AT_FDCWD as the kernel reads it from a register.
var atCWD = spawn.Int(unix.AT_FDCWD)

// script writes the list of system calls for the container. The order is runc's
// (libcontainer/standard_init_linux.go) where it matters for security; the reasons
// stand at each step.
func (b *builder) script() *spawn.Script {
	s := spawn.New()
	clone := spawn.Clone{
		Flags:  b.ns.create &^ unix.CLONE_NEWCGROUP, // unshared below
		PIDOf:  b.ns.pid,
		UserNS: b.c.UserNS,
		// In a PID namespace that others are in, they see the child before its exec.
		Exposed: b.ns.create&unix.CLONE_NEWPID == 0,
	}
	b.process.exposed = clone.Exposed
	if b.p.Cgroup != nil {
		clone.Cgroup = b.p.Cgroup.CloneInto()
	}
	// What only the host's root may do comes before the user namespace.
	joinCgroups(s, b.tasks)
	b.process.limits(s)
	if b.c.UserNS != nil {
		clone.Before = s.Len()
	}
	s.SetClone(clone)
	b.process.labels(s)
	b.process.session(s)
	b.joinNamespaces(s)
	b.names(s)
	b.loopback(s)
	made := b.attachAll(s)
	b.sysctls(s, made)
	b.coverAll(s, made)
	b.pivot(s)
	b.process.connect(s, b.rt.stdio(s, b.c.Stdio, b.c.Streams, b.tty))
	b.process.finish(s)
	return s
}

// joinCgroups moves the child into the groups of the v1 hierarchies. Moving only
// oneself, by "0", does not take the lock over all threads.
func joinCgroups(s *spawn.Script, tasks []*os.File) {
	for _, f := range tasks {
		s.Call("join cgroup", f.Name(), unix.SYS_WRITE, s.File(f), s.Str("0"), spawn.Int(1))
	}
}

func (b *builder) joinNamespaces(s *spawn.Script) {
	for _, j := range b.ns.join {
		s.Call("join namespace", string(j.kind), unix.SYS_SETNS, s.File(j.f), spawn.Uint(j.flag))
	}
	// The root of a cgroup namespace is the group of the one who makes it: all groups
	// have been joined now.
	if b.ns.create&unix.CLONE_NEWCGROUP != 0 {
		s.Call("create namespace", "cgroup", unix.SYS_UNSHARE, spawn.Uint(unix.CLONE_NEWCGROUP))
	}
}

func (b *builder) names(s *spawn.Script) {
	if h := b.spec.Hostname; h != "" && b.ns.has(unix.CLONE_NEWUTS) {
		s.Call("set", "host name", unix.SYS_SETHOSTNAME, s.Str(h), spawn.Int(len(h)))
	}
	if d := b.spec.Domainname; d != "" && b.ns.has(unix.CLONE_NEWUTS) {
		s.Call("set", "domain name", unix.SYS_SETDOMAINNAME, s.Str(d), spawn.Int(len(d)))
	}
}

// loopback brings lo up in a new network namespace; a pooled one has it up already.
func (b *builder) loopback(s *spawn.Script) {
	if b.ns.create&unix.CLONE_NEWNET == 0 {
		return
	}
	sock := s.Call("open", "socket", unix.SYS_SOCKET, spawn.Int(unix.AF_INET), spawn.Int(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), spawn.Int(0))
	var request [40]byte // struct ifreq: a name of 16 bytes, then the flags
	copy(request[:], "lo")
	request[16] = unix.IFF_UP
	s.Call("bring up", "lo", unix.SYS_IOCTL, sock.Result(), spawn.Int(unix.SIOCSIFFLAGS), s.Bytes(request[:]))
}

// attachAll attaches the root, first, and then each mount under it: kernels before
// 6.15 cannot mount on what is not attached. It returns the mounts that the child
// made, by the number of their attachment.
func (b *builder) attachAll(s *spawn.Script) map[int]spawn.Arg {
	empty := s.Str("")
	// Nothing that is mounted here may reach the host; what the host unmounts goes
	// away here as well.
	s.Call("make private", "mounts", unix.SYS_MOUNT, spawn.Int(0), s.Str("/"), spawn.Int(0), spawn.Uint(unix.MS_REC|unix.MS_SLAVE), spawn.Int(0))
	s.Call("attach", "root file system", unix.SYS_MOVE_MOUNT, s.File(b.trees[0].root), empty, atCWD, s.Str("/"), spawn.Uint(unix.MOVE_MOUNT_F_EMPTY_PATH))
	made := map[int]spawn.Arg{}
	for i, a := range b.attachments {
		var what spawn.Arg
		switch {
		case a.source != nil:
			what = s.File(a.source)
		case a.shared != nil:
			what = s.File(a.shared)
			made[i] = what
		case a.terminal != nil:
			what = openTree(s, "copy mount of", a.object, s.File(a.terminal), "", 0).Result()
		default:
			what = newMount(s, a.object, a.fstype, a.fsSource, a.attr, a.data)
			made[i] = what
		}
		if a.pin != nil {
			moveMount(s, "mount", a.object, what, s.File(a.pin), "")
		} else {
			moveMount(s, "mount", a.object, what, made[a.in], a.inside)
		}
	}
	return made
}

// newMount makes a file system in the child.
func newMount(s *spawn.Script, object, fstype, source string, attr uint64, data []mount.Option) spawn.Arg {
	fs := s.Call("open file system for", object, unix.SYS_FSOPEN, s.Str(fstype), spawn.Int(unix.FSOPEN_CLOEXEC)).Result()
	configure := func(command int, key, value spawn.Arg) {
		s.Call("configure file system for", object, unix.SYS_FSCONFIG, fs, spawn.Int(command), key, value, spawn.Int(0))
	}
	if source == "" {
		source = fstype
	}
	configure(unix.FSCONFIG_SET_STRING, s.Str("source"), s.Str(source))
	for _, o := range data {
		if o.Value == "" {
			configure(unix.FSCONFIG_SET_FLAG, s.Str(o.Key), spawn.Int(0))
		} else {
			configure(unix.FSCONFIG_SET_STRING, s.Str(o.Key), s.Str(o.Value))
		}
	}
	configure(unix.FSCONFIG_CMD_CREATE, spawn.Int(0), spawn.Int(0))
	return s.Call("create file system for", object, unix.SYS_FSMOUNT, fs, spawn.Int(unix.FSMOUNT_CLOEXEC), spawn.Uint(attr)).Result()
}

// openTree copies the mount at path below dir, or of dir itself.
func openTree(s *spawn.Script, step, object string, dir spawn.Arg, path string, flags uint64) *spawn.Call {
	flags |= unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return s.Call(step, object, unix.SYS_OPEN_TREE, dir, s.Str(path), spawn.Uint(flags))
}

// moveMount moves a detached mount to path below dir, or onto dir itself. A link at
// the end of path is not followed.
func moveMount(s *spawn.Script, step, object string, what, dir spawn.Arg, path string) *spawn.Call {
	flags := uint64(unix.MOVE_MOUNT_F_EMPTY_PATH)
	if path == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return s.Call(step, object, unix.SYS_MOVE_MOUNT, what, s.Str(""), dir, s.Str(path), spawn.Uint(flags))
}

// coverAll masks paths and makes others read-only. Those in procfs and sysfs are
// addressed from the mounts just made, so nothing of the image is on the way.
func (b *builder) coverAll(s *spawn.Script, made map[int]spawn.Arg) {
	// A mount can be copied once it is attached: the first mask of a kind is attached,
	// the others are copies of it.
	first := map[coverKind]spawn.Arg{}
	for _, c := range b.covers {
		dir := made[c.in]
		if c.pin != nil {
			dir = s.File(c.pin)
		}
		if c.kind == readOnly {
			coverReadOnly(s, c, dir)
			continue
		}
		mask, attached := first[c.kind]
		switch {
		case attached:
			mask = openTree(s, "copy mask for", c.object, mask, "", 0).Result()
		case c.kind == maskFile:
			mask = s.File(b.null)
		default:
			mask = newMount(s, c.object, "tmpfs", "tmpfs", unix.MOUNT_ATTR_RDONLY, nil)
		}
		if !attached {
			first[c.kind] = mask
		}
		moveMount(s, "mask", c.object, mask, dir, c.inside)
	}
}

func coverReadOnly(s *spawn.Script, c cover, dir spawn.Arg) {
	copied := openTree(s, "copy mount of", c.object, dir, c.inside, unix.AT_RECURSIVE).Result()
	setAttr(s, "make read-only", c.object, copied, unix.MOUNT_ATTR_RDONLY)
	moveMount(s, "make read-only", c.object, copied, dir, c.inside)
}

func setAttr(s *spawn.Script, step, object string, what spawn.Arg, set uint64) {
	const size = 32 // struct mount_attr, its first version
	attr := s.Words(spawn.Uint(set), spawn.Int(0), spawn.Int(0), spawn.Int(0))
	s.Call(step, object, unix.SYS_MOUNT_SETATTR, what, s.Str(""), spawn.Int(unix.AT_EMPTY_PATH), attr, spawn.Int(size))
}

// sysctls writes the spec's kernel parameters, before /proc/sys becomes read-only. They
// are those of the namespaces of who opens them, so that any procfs will do: the
// container's own, which nothing can be in the way of yet, or, where that is a bind
// and maybe read-only, the host's.
func (b *builder) sysctls(s *spawn.Script, made map[int]spawn.Arg) {
	dir, root := atCWD, "/proc/sys/"
	if i := slices.IndexFunc(b.attachments, func(a attachment) bool { return a.fstype == "proc" }); i >= 0 {
		dir, root = made[i], "sys/"
	}
	for _, key := range slices.Sorted(maps.Keys(b.spec.Linux.Sysctl)) {
		value := b.spec.Linux.Sysctl[key]
		path := root + strings.ReplaceAll(key, ".", "/")
		f := s.Call("open kernel parameter", key, unix.SYS_OPENAT, dir, s.Str(path), spawn.Int(unix.O_WRONLY|unix.O_CLOEXEC))
		s.Call("set kernel parameter", key, unix.SYS_WRITE, f.Result(), s.Str(value), spawn.Int(len(value)))
	}
}

// pivot makes the attached root the process's root directory and lets go of the
// host's. Both are mounted at one place then, the host's on top: no directory for it
// is needed in the container.
func (b *builder) pivot(s *spawn.Script) {
	root, dot := s.File(b.trees[0].root), s.Str(".")
	s.Call("enter", "root file system", unix.SYS_FCHDIR, root)
	s.Call("change", "root directory", unix.SYS_PIVOT_ROOT, dot, dot)
	s.Call("unmount", "the host's file systems", unix.SYS_UMOUNT2, dot, spawn.Int(unix.MNT_DETACH))
	if flags := rootPropagation[b.spec.Linux.RootfsPropagation]; flags != 0 {
		s.Call("set propagation of", "root file system", unix.SYS_MOUNT, spawn.Int(0), s.Str("/"), spawn.Int(0), spawn.Uint(flags), spawn.Int(0))
	}
	if b.spec.Root != nil && b.spec.Root.Readonly {
		setAttr(s, "make read-only", "root file system", root, unix.MOUNT_ATTR_RDONLY)
	}
}

// rootPropagation holds the propagations of the container's root that differ from
// what it has anyway: private.
var rootPropagation = map[string]uint64{
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// stdio are the standard descriptors: the terminal, if there is one, those of the one
// who runs the plan, streams, or the null device.
func (r *Runtime) stdio(s *spawn.Script, given bool, streams [3]*os.File, tty *os.File) [3]spawn.Arg {
	if tty == nil && given {
		return [3]spawn.Arg{s.Stdio(0), s.Stdio(1), s.Stdio(2)}
	}
	var a [3]spawn.Arg
	for i, f := range streams {
		switch {
		case tty != nil:
			f = tty
		case f == nil:
			f = r.nullFile
		}
		a[i] = s.File(f)
	}
	return a
}
