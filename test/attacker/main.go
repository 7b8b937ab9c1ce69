// Command attacker runs in a container with CAP_SYS_PTRACE and looks for processes
// that are on their way into it: born into the PID namespace but not yet executing
// the container's program. Of each it prints what an attacker could take from it.
//
//	attacker SECRET FILE
//
// It ends when FILE exists. SECRET is text that the memory of hoy's own processes
// contains; finding it in a process here is a leak.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: attacker SECRET FILE")
		os.Exit(2)
	}
	a := attacker{secret: []byte(os.Args[1]), own: os.Getpid()}
	a.mnt, _ = os.Readlink("/proc/self/ns/mnt")
	a.caps = field(a.own, "CapPrm")
	fmt.Println("watching")
	for rounds := 0; ; rounds++ {
		a.look()
		if rounds%100 == 0 {
			if _, err := os.Stat(os.Args[2]); err == nil {
				break
			}
		}
	}
	fmt.Println("caught", a.caught)
}

type attacker struct {
	secret []byte
	own    int
	mnt    string // our mount namespace
	caps   string // our permitted capabilities
	caught int
}

func (a *attacker) look() {
	d, err := os.Open("/proc")
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1)
	d.Close()
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil && pid != a.own && pid != 1 {
			a.inspect(pid)
		}
	}
}

// inspect takes a process in the middle of its way when its executable still is
// one of hoy's.
func (a *attacker) inspect(pid int) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !strings.Contains(exe, "hoy") {
		return
	}
	a.caught++
	if caps := field(pid, "CapPrm"); caps != "" && more(caps, a.caps) {
		fmt.Println("leak: a process with capabilities", caps)
	}
	if field(pid, "Seccomp") == "0" {
		fmt.Println("leak: a process without seccomp filter")
	}
	if mnt, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && mnt != a.mnt {
		fmt.Println("leak: a process in another mount namespace")
	}
	a.descriptors(pid)
	a.memory(pid)
}

func (a *attacker) descriptors(pid int) {
	es, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, e := range es {
		if n, _ := strconv.Atoi(e.Name()); n > 2 {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, n))
			if err == nil {
				fmt.Println("leak: descriptor", n, to)
			}
		}
	}
}

// memory searches what can be read for the secret, and tries to write.
func (a *attacker) memory(pid int) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer mem.Close()
	for _, l := range strings.Split(string(maps), "\n") {
		var lo, hi int64
		var perm string
		if n, _ := fmt.Sscanf(l, "%x-%x %s", &lo, &hi, &perm); n != 3 || perm[0] != 'r' || hi-lo > 64<<20 {
			continue
		}
		b := make([]byte, hi-lo)
		n, _ := syscall.Pread(int(mem.Fd()), b, lo)
		if n > 0 && bytes.Contains(b[:n], a.secret) {
			fmt.Println("leak: the secret is in the memory at", l)
		}
	}
}

// more says whether the hexadecimal set x has something that y has not.
func more(x, y string) bool {
	a, err1 := strconv.ParseUint(x, 16, 64)
	b, err2 := strconv.ParseUint(y, 16, 64)
	return err1 != nil || err2 != nil || a&^b != 0
}

func field(pid int, name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, l := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
