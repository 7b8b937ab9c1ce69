package runtime

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/caps"
	"hoy/linux/seccomp"
	"hoy/linux/spawn"
)

// process is what becomes of the child once it is where it belongs: the part that
// containers and execs have in common.
type process struct {
	argv, env  []string
	cwd        string
	user       specs.User
	caps       capSets
	lastCap    int
	noNewPrivs bool
	filter     *seccomp.Filter // nil: none
	rlimits    []rlimit
	oomScore   int
	apparmor   string
	selinux    string
	security   security
	programs   []string
	terminal   bool
	exposed    bool // see spawn.Clone
}

type capSets struct{ bounding, effective, permitted, inheritable, ambient caps.Set }

func (r *Runtime) newProcess(p *specs.Process, filter *specs.LinuxSeccomp) (process, error) {
	out := process{
		argv: p.Args, env: p.Env, cwd: p.Cwd, user: p.User,
		lastCap: r.lastCap, noNewPrivs: p.NoNewPrivileges,
		apparmor: p.ApparmorProfile, selinux: p.SelinuxLabel, security: r.security, terminal: p.Terminal,
	}
	if out.cwd == "" {
		out.cwd = "/"
	}
	var err error
	if out.caps, err = parseCaps(p.Capabilities); err != nil {
		return out, err
	}
	if out.rlimits, err = r.newRlimits(p.Rlimits); err != nil {
		return out, err
	}
	if err := r.security.check(p); err != nil {
		return out, err
	}
	out.oomScore = r.clampOOMScore(p.OOMScoreAdj)
	out.programs = candidates(p.Args[0], p.Env)
	if len(out.programs) == 0 {
		return out, &ExecError{p.Args[0], "executable file not found in $PATH", notFound, unix.ENOENT}
	}
	if filter != nil {
		out.filter, err = r.filters.compile(filter)
	}
	return out, err
}

func parseCaps(c *specs.LinuxCapabilities) (capSets, error) {
	var s capSets
	if c == nil {
		return s, nil
	}
	for _, p := range []struct {
		to   *caps.Set
		from []string
	}{
		{&s.bounding, c.Bounding}, {&s.effective, c.Effective}, {&s.permitted, c.Permitted},
		{&s.inheritable, c.Inheritable}, {&s.ambient, c.Ambient},
	} {
		set, err := caps.Parse(p.from)
		if err != nil {
			return s, err
		}
		*p.to = set
	}
	return s, nil
}

// session makes the process the leader of a session, with a keyring of its own: the
// parent's would be shared by all containers.
func (p *process) session(s *spawn.Script) {
	if !p.exposed {
		s.Bind()
	}
	s.Call("create", "session", unix.SYS_SETSID)
	s.Call("create", "session keyring", unix.SYS_KEYCTL, spawn.Int(unix.KEYCTL_JOIN_SESSION_KEYRING), spawn.Int(0)).Ignore(unix.ENOSYS)
}

// connect makes the standard descriptors those of from, and the terminal, which they
// are then, the session's controlling one.
func (p *process) connect(s *spawn.Script, from [3]spawn.Arg) {
	for i, name := range [3]string{"stdin", "stdout", "stderr"} {
		s.Call("connect", name, unix.SYS_DUP3, from[i], spawn.Int(i), spawn.Int(0))
	}
	if p.terminal && !p.exposed {
		takeTerminal(s)
	}
}

func takeTerminal(s *spawn.Script) {
	s.Call("take", "controlling terminal", unix.SYS_IOCTL, spawn.Int(0), spawn.Int(unix.TIOCSCTTY), spawn.Int(0))
}

// finish gives up what the process shall not have and executes the program. The
// standard descriptors are in place.
func (p *process) finish(s *spawn.Script) {
	umask := 0o022
	if p.user.Umask != nil {
		umask = int(*p.user.Umask)
	}
	s.Call("set", "umask", unix.SYS_UMASK, spawn.Int(umask))
	p.enterDirectory(s)
	s.Begin()
	// The exec closes everything else, but who can trace an exposed child would have
	// it before that (CVE-2016-9962).
	if p.exposed {
		s.Call("close", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<32-1), spawn.Int(0))
	} else {
		s.Call("mark", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<32-1), spawn.Int(unix.CLOSE_RANGE_CLOEXEC))
	}
	p.limitFiles(s)
	p.dropBounding(s) // before the filter, which would be run for each
	// Without no_new_privs a filter takes CAP_SYS_ADMIN, so it comes before that is
	// lost; with it, as late as possible, so that the filter need not allow the rest.
	if !p.noNewPrivs {
		p.installFilter(s)
	}
	p.dropPrivileges(s)
	if p.noNewPrivs {
		prctl(s, "set", "no_new_privs", unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	s.Call("set", "signal mask", unix.SYS_RT_SIGPROCMASK, spawn.Int(unix.SIG_SETMASK), s.Words(spawn.Int(0)), spawn.Int(0), spawn.Int(8))
	if p.noNewPrivs {
		p.installFilter(s)
	}
	if p.exposed {
		p.birth(s)
	}
	p.exec(s)
}

// birth lets the container see the child: with a filter, credentials and descriptors
// that the container might give it. Only what is of the very process remains to do.
func (p *process) birth(s *spawn.Script) {
	s.Birth()
	// Where a filter refuses this, the session is that of the process before it.
	s.Call("create", "session", unix.SYS_SETSID).Ignore(unix.EPERM, unix.ENOSYS)
	if p.terminal {
		takeTerminal(s)
	}
}

// enterDirectory changes to the working directory as root, before the user's rights
// matter. A path of /proc could lead to a descriptor that is still open and out of
// the container (CVE-2024-21626), so links of that kind are refused.
func (p *process) enterDirectory(s *spawn.Script) {
	if p.cwd == "/" {
		s.Call("enter directory", "/", unix.SYS_CHDIR, s.Str("/"))
		return
	}
	how := s.Words(spawn.Uint(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), spawn.Int(0), spawn.Uint(unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_IN_ROOT))
	dir := s.Call("enter directory", p.cwd, unix.SYS_OPENAT2, atCWD, s.Str(p.cwd), how, spawn.Int(unix.SizeofOpenHow))
	s.Call("enter directory", p.cwd, unix.SYS_FCHDIR, dir.Result())
}

func (p *process) installFilter(s *spawn.Script) {
	if p.filter == nil {
		return
	}
	const instruction = 8 // sizeof(struct sock_filter)
	program := s.Words(spawn.Int(len(p.filter.Program)/instruction), s.Bytes(p.filter.Program))
	s.Call("install", "seccomp filter", unix.SYS_SECCOMP, spawn.Int(unix.SECCOMP_SET_MODE_FILTER), spawn.Uint(uint64(p.filter.Flags)), program)
}

// prctl appends a call of prctl(2), whose unused arguments must be zero.
func prctl(s *spawn.Script, step, object string, args ...int) {
	words := make([]spawn.Arg, 5)
	for i := range words {
		words[i] = spawn.Int(0)
		if i < len(args) {
			words[i] = spawn.Int(args[i])
		}
	}
	s.Call(step, object, unix.SYS_PRCTL, words...)
}

// dropBounding takes from the process and its children what they shall never have.
func (p *process) dropBounding(s *spawn.Script) {
	for i := range p.lastCap + 1 {
		if p.caps.bounding>>i&1 == 0 {
			prctl(s, "drop capability", capName(i), unix.PR_CAPBSET_DROP, i)
		}
	}
}

// dropPrivileges becomes the user with its capabilities.
func (p *process) dropPrivileges(s *spawn.Script) {
	keep := p.user.UID != 0 // root's capabilities would be gone with its user id
	if keep {
		prctl(s, "keep", "capabilities", unix.PR_SET_KEEPCAPS, 1)
	}
	p.becomeUser(s)
	if keep {
		prctl(s, "forget to keep", "capabilities", unix.PR_SET_KEEPCAPS, 0)
	}
	p.setCaps(s)
	for i := range p.lastCap + 1 {
		if p.caps.ambient>>i&1 != 0 {
			prctl(s, "raise ambient capability", capName(i), unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i)
		}
	}
}

func capName(i int) string { return strings.Join(caps.Set(1<<i).Names(), "") }

func (p *process) becomeUser(s *spawn.Script) {
	groups := make([]byte, 0, 4*len(p.user.AdditionalGids))
	for _, g := range p.user.AdditionalGids {
		groups = binary.LittleEndian.AppendUint32(groups, g)
	}
	uid, gid := spawn.Uint(uint64(p.user.UID)), spawn.Uint(uint64(p.user.GID))
	s.Call("set", "additional groups", unix.SYS_SETGROUPS, spawn.Int(len(p.user.AdditionalGids)), s.Bytes(groups))
	s.Call("set group", fmt.Sprint(p.user.GID), unix.SYS_SETRESGID, gid, gid, gid)
	s.Call("set user", fmt.Sprint(p.user.UID), unix.SYS_SETRESUID, uid, uid, uid)
}

func (p *process) setCaps(s *spawn.Script) {
	var header, data []byte
	header = binary.LittleEndian.AppendUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	header = binary.LittleEndian.AppendUint32(header, 0)
	for _, shift := range []int{0, 32} {
		for _, set := range []caps.Set{p.caps.effective, p.caps.permitted, p.caps.inheritable} {
			data = binary.LittleEndian.AppendUint32(data, uint32(set>>shift))
		}
	}
	s.Call("set", "capabilities", unix.SYS_CAPSET, s.Bytes(header), s.Bytes(data))
}

// exec tries the program in each directory of the container's PATH, as execvp(3):
// the first that can be executed is it.
func (p *process) exec(s *spawn.Script) {
	argv, env := s.Strings(p.argv), s.Strings(p.env)
	for i, file := range p.programs {
		c := s.Call("execute", file, unix.SYS_EXECVE, s.Str(file), argv, env)
		if i < len(p.programs)-1 {
			c.Ignore(unix.ENOENT, unix.EACCES, unix.ENOTDIR)
		}
	}
}

// candidates lists the files that name may mean.
func candidates(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var files []string
	for _, dir := range strings.Split(lookupEnv(env, "PATH"), ":") {
		// A relative directory would be searched from wherever the image's author
		// put the working directory; execvp does it, Go and runc do not.
		if path.IsAbs(dir) {
			files = append(files, path.Join(dir, name))
		}
	}
	return files
}

func lookupEnv(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(env[i], "="); k == key {
			return v
		}
	}
	return ""
}

// check refuses what a spec asks for and this runtime does not have.
func check(s *specs.Spec) error {
	switch {
	case s == nil || s.Process == nil || s.Linux == nil:
		return fault.New(fault.Invalid, "the spec has no process or no linux section")
	case len(s.Process.Args) == 0 || s.Process.Args[0] == "":
		return fault.New(fault.Invalid, "no command specified")
	case s.Hooks != nil:
		return fault.New(fault.NotImplemented, "hooks are not supported")
	case s.Linux.IntelRdt != nil:
		return fault.New(fault.NotImplemented, "Intel RDT is not supported")
	case len(s.Linux.TimeOffsets) > 0:
		return fault.New(fault.NotImplemented, "time namespaces are not supported")
	case s.Linux.Personality != nil:
		return fault.New(fault.NotImplemented, "personalities are not supported")
	case len(s.Linux.NetDevices) > 0:
		return fault.New(fault.NotImplemented, "moving network devices is not supported")
	case s.Linux.MemoryPolicy != nil:
		return fault.New(fault.NotImplemented, "memory policies are not supported")
	}
	for key := range s.Linux.Sysctl {
		if strings.Contains(key, "..") || strings.Contains(key, "/") {
			return fault.New(fault.Invalid, "%q is no name of a kernel parameter", key)
		}
	}
	return checkProcess(s.Process)
}

func checkProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		return fault.New(fault.Invalid, "no command specified")
	case p.Scheduler != nil:
		return fault.New(fault.NotImplemented, "scheduler attributes are not supported")
	case p.IOPriority != nil:
		return fault.New(fault.NotImplemented, "I/O priorities are not supported")
	case p.ExecCPUAffinity != nil:
		return fault.New(fault.NotImplemented, "CPU affinity of execs is not supported")
	case p.Cwd != "" && !path.IsAbs(p.Cwd):
		return fault.New(fault.Invalid, "the working directory %q is not absolute", p.Cwd)
	}
	for _, s := range append(append([]string{p.Cwd}, p.Args...), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return fault.New(fault.Invalid, "%q contains a NUL byte", s)
		}
	}
	return nil
}
