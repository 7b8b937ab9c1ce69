package main

import (
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func printArgs(args []string) error {
	fmt.Println(strings.Join(os.Args, " "))
	return nil
}

func printEnv(names []string) error {
	if len(names) == 0 {
		for _, e := range os.Environ() {
			fmt.Println(e)
		}
	}
	for _, n := range names {
		fmt.Printf("%s=%s\n", n, os.Getenv(n))
	}
	return nil
}

func printCwd([]string) error {
	d, err := unix.Getwd()
	fmt.Println(d)
	return err
}

func printHostname([]string) error {
	var u unix.Utsname
	err := unix.Uname(&u)
	fmt.Println(unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Domainname[:]))
	return err
}

func printIDs([]string) error {
	groups, err := os.Getgroups()
	fmt.Println(os.Getuid(), os.Getgid(), groups)
	return err
}

// printStatus prints fields of /proc/self/status: "Key: value".
func printStatus(keys []string) error {
	b, err := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") {
		k, v, _ := strings.Cut(l, ":")
		for _, want := range keys {
			if k == want {
				fmt.Printf("%s: %s\n", k, strings.TrimSpace(v))
			}
		}
	}
	return err
}

// printDescriptors lists what is open, without what this program and the Go runtime
// opened themselves.
func printDescriptors([]string) error {
	es, err := os.ReadDir("/proc/self/fd")
	for _, e := range es {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") {
			continue // the directory's own, closed by now; the runtime's poller
		}
		fmt.Println(e.Name(), to)
	}
	return err
}

var limits = map[string]int{
	"nofile": unix.RLIMIT_NOFILE, "core": unix.RLIMIT_CORE, "nproc": unix.RLIMIT_NPROC,
	"stack": unix.RLIMIT_STACK, "memlock": unix.RLIMIT_MEMLOCK, "cpu": unix.RLIMIT_CPU,
}

// printLimits reads /proc: Go raises its own limit of open files at start, and so
// "soft" is what the program was born with only there for the others.
func printLimits(names []string) error {
	for _, n := range names {
		var l unix.Rlimit
		if err := unix.Prlimit(0, limits[n], nil, &l); err != nil {
			return err
		}
		fmt.Println(n, l.Cur, l.Max)
	}
	return nil
}

func printUmask([]string) error {
	m := unix.Umask(0)
	unix.Umask(m)
	fmt.Printf("%04o\n", m)
	return nil
}

func printFiles(paths []string) error {
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			fmt.Println(err)
			continue
		}
		os.Stdout.Write(b)
		if len(b) > 0 && b[len(b)-1] != '\n' {
			fmt.Println()
		}
	}
	return nil
}

func list(paths []string) error {
	for _, p := range paths {
		es, err := os.ReadDir(p)
		if err != nil {
			fmt.Println(err)
			continue
		}
		var names []string
		for _, e := range es {
			names = append(names, e.Name())
		}
		fmt.Printf("%s: %s\n", p, strings.Join(names, " "))
	}
	return nil
}

func printStat(paths []string) error {
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			fmt.Printf("%s: %v\n", p, err)
			continue
		}
		fmt.Printf("%s %o %d:%d", p, st.Mode, st.Uid, st.Gid)
		if k := st.Mode & unix.S_IFMT; k == unix.S_IFCHR || k == unix.S_IFBLK {
			fmt.Printf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		fmt.Println()
	}
	return nil
}

func printLink(paths []string) error {
	for _, p := range paths {
		to, err := os.Readlink(p)
		if err != nil {
			return err
		}
		fmt.Println(p, to)
	}
	return nil
}

// printMounts prints "mount point, type, options, propagation" of each mount.
func printMounts(points []string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		mount, fs, _ := strings.Cut(l, " - ")
		m, t := strings.Fields(mount), strings.Fields(fs)
		if len(m) < 6 || len(t) < 3 {
			continue
		}
		if len(points) > 0 && !contains(points, m[4]) {
			continue
		}
		fmt.Println(m[4], t[0], t[1], m[5], strings.Join(m[6:], " "))
	}
	return err
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func printInterfaces([]string) error {
	is, err := net.Interfaces()
	for _, i := range is {
		fmt.Println(i.Name, i.Flags&net.FlagUp != 0)
	}
	return err
}

func printNamespaces(kinds []string) error {
	for _, k := range kinds {
		to, err := os.Readlink("/proc/self/ns/" + k)
		if err != nil {
			return err
		}
		fmt.Println(to)
	}
	return nil
}

func printPids([]string) error {
	es, err := os.ReadDir("/proc")
	var pids []int
	for _, e := range es {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, n)
		}
	}
	sort.Ints(pids)
	fmt.Println(pids)
	return err
}

func printTerminal([]string) error {
	for fd := range 3 {
		ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println(fd, "no terminal")
			continue
		}
		name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		fmt.Println(fd, name, ws.Row, ws.Col)
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0) // only with a controlling terminal
	if err == nil {
		fmt.Println("controlling terminal")
		f.Close()
	}
	return err
}

func printSignals([]string) error { return printStatus([]string{"SigBlk", "SigIgn"}) }
