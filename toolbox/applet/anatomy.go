package applet

import (
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// anatomy shows what a container is made of, from inside.
func anatomy(c *call) error {
	section := func(title string) { fmt.Fprintf(c.out, "\n%s\n", title) }
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(c.out, "  %-14s %s\n", k, v)
		}
	}
	fmt.Fprintln(c.out, "This container, from inside")

	section("Borrowed from the host: the kernel")
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		row("kernel", unix.ByteSliceToString(u.Sysname[:])+" "+unix.ByteSliceToString(u.Release[:])+" "+unix.ByteSliceToString(u.Machine[:]))
	}
	row("processors", strconv.Itoa(len(field("/proc/cpuinfo", "processor")))+" visible")
	row("memory", kib(one("/proc/meminfo", "MemTotal")))

	section("Its own: the userland")
	row("system", strings.Trim(assigned("/etc/os-release", "PRETTY_NAME"), `"`))
	row("hostname", unix.ByteSliceToString(u.Nodename[:]))
	fs, options := rootMount()
	row("root", fs)
	row("root options", options)
	var st unix.Statfs_t
	if unix.Statfs("/", &st) == nil {
		row("disk", fmt.Sprintf("%s free of %s", size(st.Bavail*uint64(st.Bsize)), size(st.Blocks*uint64(st.Bsize))))
	}
	row("mounts", strconv.Itoa(lineCount("/proc/self/mountinfo")))

	section("Namespaces")
	for _, n := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"} {
		l, err := os.Readlink("/proc/self/ns/" + n)
		if err != nil {
			continue
		}
		_, ino, _ := strings.Cut(l, ":")
		row(n, ino)
	}
	row("user mapping", strings.Join(strings.Fields(first1("/proc/self/uid_map")), " "))

	section("Limits")
	for _, l := range limits() {
		row(l[0], l[1])
	}

	section("Rights")
	status := "/proc/self/status"
	row("user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()))
	if caps, err := strconv.ParseUint(one(status, "CapEff"), 16, 64); err == nil {
		row("capabilities", fmt.Sprintf("%d of %s (%016x)", bits.OnesCount64(caps), lastCap(), caps))
	}
	row("seccomp", map[string]string{"0": "off", "1": "strict", "2": "filter"}[one(status, "Seccomp")])
	row("privileges", map[string]string{"0": "may be gained by set-user-ID programs", "1": "none can be gained (no_new_privs)"}[one(status, "NoNewPrivs")])

	section("Network")
	for _, a := range addresses() {
		row(a[0], a[1])
	}
	row("name servers", strings.Join(field("/etc/resolv.conf", "nameserver"), " "))

	section("Processes")
	all := procs()
	for i, p := range all {
		if i == 10 {
			row("…", fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		row(strconv.Itoa(p.pid), p.command)
	}
	return nil
}

// field returns the values of "key: value" or "key value" lines.
func field(file, key string) []string {
	b, _ := os.ReadFile(file)
	var out []string
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, key); ok && rest != "" && strings.ContainsAny(rest[:1], ": \t") {
			out = append(out, strings.Trim(rest, ": \t\n"))
		}
	}
	return out
}

func one(file, key string) string {
	if f := field(file, key); len(f) > 0 {
		return f[0]
	}
	return ""
}

func assigned(file, key string) string {
	b, _ := os.ReadFile(file)
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, key+"="); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func first1(file string) string {
	b, _ := os.ReadFile(file)
	l, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(l)
}

func kib(s string) string {
	n, err := strconv.ParseUint(strings.TrimSuffix(s, " kB"), 10, 64)
	if err != nil {
		return s
	}
	return size(n * 1024)
}

func lineCount(file string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), "\n")
}

func lastCap() string {
	n, err := strconv.Atoi(first1("/proc/sys/kernel/cap_last_cap"))
	if err != nil {
		return "all"
	}
	return strconv.Itoa(n + 1)
}

// rootMount describes the root file system by mountinfo (proc_pid_mountinfo(5)).
func rootMount() (fs, options string) {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) < 7 || f[4] != "/" {
			continue
		}
		for i := range f {
			if f[i] == "-" && i+2 < len(f) {
				layers := 0
				for _, o := range strings.Split(f[len(f)-1], ",") {
					if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
						layers += strings.Count(v, ":") + 1
					} else if strings.HasPrefix(o, "lowerdir+=") {
						layers++
					}
				}
				fs = f[i+1]
				if layers > 0 {
					fs += fmt.Sprintf(", %d read-only layer(s) and one of its own", layers)
				}
				return fs, f[5]
			}
		}
	}
	return "", ""
}

// limits reads the cgroup's files as they are seen inside: version 2, else 1.
func limits() [][2]string {
	const root = "/sys/fs/cgroup/"
	pick := func(paths ...string) string {
		for _, p := range paths {
			if v := first1(root + p); v != "" {
				return v
			}
		}
		return ""
	}
	// 9223372036854771712 is how version 1 says unlimited: LONG_MAX by pages.
	amount := func(v string) string {
		n, err := strconv.ParseUint(v, 10, 64)
		switch {
		case v == "":
			return "not visible"
		case err != nil || n > 1<<60:
			return "unlimited"
		}
		return size(n)
	}
	cpu := pick("cpu.max")
	if cpu == "" {
		if q := pick("cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us"); q != "" {
			cpu = q + " " + pick("cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us")
		}
	}
	pids := pick("pids.max", "pids/pids.max")
	switch pids {
	case "":
		pids = "not visible"
	case "max":
		pids = "unlimited"
	}
	var files unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	return [][2]string{
		{"memory", amount(pick("memory.max", "memory/memory.limit_in_bytes"))},
		{"processors", quota(cpu)},
		{"processes", pids},
		{"open files", strconv.FormatUint(files.Cur, 10)},
	}
}

func quota(v string) string {
	f := strings.Fields(v)
	if len(f) != 2 {
		return "not visible"
	}
	q, err1 := strconv.ParseFloat(f[0], 64)
	p, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil || q < 0 || p <= 0 {
		return "unlimited"
	}
	return strconv.FormatFloat(q/p, 'g', 3, 64)
}

func addresses() [][2]string {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	var out [][2]string
	for _, l := range links {
		var as []string
		addrs, _ := netlink.AddrList(l, netlink.FAMILY_ALL)
		for _, a := range addrs {
			as = append(as, a.IPNet.String())
		}
		if len(as) > 0 {
			out = append(out, [2]string{l.Attrs().Name, strings.Join(as, " ")})
		}
	}
	routes, _ := netlink.RouteList(nil, netlink.FAMILY_V4)
	for _, r := range routes {
		if r.Gw != nil {
			out = append(out, [2]string{"gateway", r.Gw.String()})
		}
	}
	return out
}
