package applet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// system are the programs about processes, the machine and the caller.
func system() map[string]program {
	return map[string]program{
		"sh": shell, "env": env, "printenv": env, "id": id, "whoami": whoami, "hostname": hostname,
		"uname": uname, "date": date, "sleep": sleep, "ps": ps, "kill": kill, "free": free,
		"uptime": uptime, "nproc": nproc, "clear": clearScreen, "true": func(*call) error { return nil },
		"false": func(*call) error { return exit(1) }, "anatomy": anatomy,
	}
}

func env(c *call) error {
	args, vars := c.args, os.Environ()
	if c.name == "printenv" {
		for _, n := range args {
			v, ok := os.LookupEnv(n)
			if !ok {
				return exit(1)
			}
			fmt.Fprintln(c.out, v)
		}
		if len(args) > 0 {
			return nil
		}
	}
	if len(args) > 0 && args[0] == "-i" {
		vars, args = nil, args[1:]
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		vars, args = append(vars, args[0]), args[1:]
	}
	if len(args) == 0 {
		for _, v := range vars {
			fmt.Fprintln(c.out, v)
		}
		return nil
	}
	p, err := exec.LookPath(args[0])
	if err != nil {
		fmt.Fprintf(c.err, "env: %s: not found\n", args[0])
		return exit(127)
	}
	return os.NewSyscallError("execve", syscall.Exec(p, args, vars))
}

// nameOf finds the name of a number in /etc/passwd or /etc/group.
func nameOf(table string, id int) string {
	b, _ := os.ReadFile(table)
	for l := range strings.Lines(string(b)) {
		if f := strings.Split(l, ":"); len(f) > 2 && f[2] == strconv.Itoa(id) {
			return f[0]
		}
	}
	return strconv.Itoa(id)
}

func id(c *call) error {
	opt, _, err := flags(c.args, "ugn")
	if err != nil {
		return err
	}
	uid, gid := os.Getuid(), os.Getgid()
	_, u := opt['u']
	_, g := opt['g']
	_, n := opt['n']
	switch {
	case u && n:
		fmt.Fprintln(c.out, nameOf("/etc/passwd", uid))
	case u:
		fmt.Fprintln(c.out, uid)
	case g && n:
		fmt.Fprintln(c.out, nameOf("/etc/group", gid))
	case g:
		fmt.Fprintln(c.out, gid)
	default:
		fmt.Fprintf(c.out, "uid=%d(%s) gid=%d(%s)", uid, nameOf("/etc/passwd", uid), gid, nameOf("/etc/group", gid))
		groups, err := os.Getgroups()
		if err != nil {
			return err
		}
		for i, g := range groups {
			fmt.Fprintf(c.out, "%s%d(%s)", map[bool]string{true: " groups=", false: ","}[i == 0], g, nameOf("/etc/group", g))
		}
		fmt.Fprintln(c.out)
	}
	return nil
}

func whoami(c *call) error {
	fmt.Fprintln(c.out, nameOf("/etc/passwd", os.Geteuid()))
	return nil
}

func hostname(c *call) error {
	if len(c.args) == 1 && c.args[0][0] != '-' {
		return os.NewSyscallError("sethostname", unix.Sethostname([]byte(c.args[0])))
	}
	h, err := os.Hostname()
	fmt.Fprintln(c.out, h)
	return err
}

func uname(c *call) error {
	opt, _, err := flags(c.args, "asnrvm")
	if err != nil {
		return err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	var out []string
	for _, f := range []struct {
		k byte
		v string
	}{{'s', unix.ByteSliceToString(u.Sysname[:])}, {'n', unix.ByteSliceToString(u.Nodename[:])}, {'r', unix.ByteSliceToString(u.Release[:])}, {'v', unix.ByteSliceToString(u.Version[:])}, {'m', unix.ByteSliceToString(u.Machine[:])}} {
		_, all := opt['a']
		if _, ok := opt[f.k]; ok || all || len(opt) == 0 && f.k == 's' {
			out = append(out, f.v)
		}
	}
	fmt.Fprintln(c.out, strings.Join(out, " "))
	return nil
}

func date(c *call) error {
	opt, rest, err := flags(c.args, "u")
	if err != nil {
		return err
	}
	now := time.Now()
	if _, ok := opt['u']; ok {
		now = now.UTC()
	}
	if len(rest) == 0 {
		fmt.Fprintln(c.out, now.Format("Mon Jan _2 15:04:05 MST 2006"))
		return nil
	}
	f, ok := strings.CutPrefix(rest[0], "+")
	if !ok {
		return c.usage("[-u] [+FORMAT]")
	}
	fmt.Fprintln(c.out, strings.NewReplacer("%Y", now.Format("2006"), "%m", now.Format("01"), "%d", now.Format("02"), "%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"), "%s", strconv.FormatInt(now.Unix(), 10), "%N", now.Format("000000000"), "%F", now.Format("2006-01-02"), "%T", now.Format("15:04:05"), "%Z", now.Format("MST"), "%z", now.Format("-0700"), "%%", "%").Replace(f))
	return nil
}

func sleep(c *call) error {
	var sum time.Duration
	for _, a := range c.args {
		if a == "infinity" {
			sum = 1 << 62
			break
		}
		if a[len(a)-1] >= '0' && a[len(a)-1] <= '9' {
			a += "s"
		}
		if days, ok := strings.CutSuffix(a, "d"); ok {
			n, err := strconv.Atoi(days)
			if err != nil {
				return fmt.Errorf("invalid time %q", a)
			}
			sum += time.Duration(n) * 24 * time.Hour
			continue
		}
		d, err := time.ParseDuration(a)
		if err != nil || d < 0 {
			return fmt.Errorf("invalid time %q", a)
		}
		sum += d
	}
	if len(c.args) == 0 {
		return c.usage("SECONDS")
	}
	time.Sleep(sum)
	return nil
}

// proc is a process as ps shows it.
type proc struct {
	pid, ppid, uid int
	state, command string
}

// procs reads /proc. Processes that end meanwhile are left out.
func procs() []proc {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var all []proc
	for _, d := range dirs {
		var st unix.Stat_t
		b, err := os.ReadFile(d + "/stat")
		if err != nil || unix.Stat(d, &st) != nil {
			continue
		}
		s := string(b)
		end := strings.LastIndexByte(s, ')') // the name may hold anything
		f := strings.Fields(s[end+1:])
		p := proc{uid: int(st.Uid), state: f[0], command: "[" + s[strings.IndexByte(s, '(')+1:end] + "]"}
		p.pid, _ = strconv.Atoi(filepath.Base(d))
		p.ppid, _ = strconv.Atoi(f[1])
		if c, _ := os.ReadFile(d + "/cmdline"); len(c) > 0 {
			p.command = strings.ReplaceAll(strings.TrimRight(string(c), "\x00"), "\x00", " ")
		}
		all = append(all, p)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].pid < all[j].pid })
	return all
}

func ps(c *call) error {
	fmt.Fprintf(c.out, "%7s %7s %-8s S %s\n", "PID", "PPID", "USER", "COMMAND")
	for _, p := range procs() {
		fmt.Fprintf(c.out, "%7d %7d %-8s %s %s\n", p.pid, p.ppid, nameOf("/etc/passwd", p.uid), p.state, p.command)
	}
	return nil
}

func kill(c *call) error {
	sig, args := unix.SIGTERM, c.args
	if len(args) > 1 && args[0] == "-s" {
		args = append([]string{"-" + args[1]}, args[2:]...)
	}
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		name := strings.ToUpper(args[0][1:])
		if n, err := strconv.Atoi(name); err == nil {
			sig = syscall.Signal(n)
		} else if sig = unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); sig == 0 {
			return fmt.Errorf("unknown signal %s", args[0][1:])
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return c.usage("[-SIGNAL] PID...")
	}
	for _, a := range args {
		pid, err := strconv.Atoi(a)
		if err != nil {
			return fmt.Errorf("%q is no process ID", a)
		}
		if err := unix.Kill(pid, sig); err != nil {
			return fmt.Errorf("%d: %w", pid, err)
		}
	}
	return nil
}

func free(c *call) error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		switch f[0] {
		case "MemTotal:", "MemFree:", "MemAvailable:", "SwapTotal:", "SwapFree:":
			kb, _ := strconv.ParseUint(f[1], 10, 64)
			fmt.Fprintf(c.out, "%-14s %12s\n", f[0], size(kb*1024))
		}
	}
	return nil
}

func uptime(c *call) error {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return err
	}
	s, _, _ := strings.Cut(string(b), ".")
	n, _ := strconv.Atoi(s)
	fmt.Fprintln(c.out, "up", time.Duration(n)*time.Second)
	return nil
}

func nproc(c *call) error { fmt.Fprintln(c.out, runtime.NumCPU()); return nil }

func clearScreen(c *call) error { _, err := c.out.WriteString("\x1b[H\x1b[2J"); return err }
