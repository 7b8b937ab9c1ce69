// Package proc reads what the kernel tells of processes, interfaces and processors in
// /proc (proc(5)).
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tick is the unit of the kernel's CPU times: USER_HZ, which is 100 on all of Linux's
// architectures that Go knows.
const Tick = 10 * time.Millisecond

// Process is one process as /proc/<pid>/stat, status and cmdline tell of it.
type Process struct {
	PID, PPID, PGID, SID int
	UID, EUID            uint32 // real, effective
	GID                  uint32
	Name                 string // as the kernel has it: at most 15 bytes
	Command              []string
	State                byte // R, S, D, T, Z …
	TTY                  uint64
	Foreground           int // process group of the terminal
	Priority, Nice       int
	Threads              int
	CPU                  time.Duration // used, by user and system
	Started              time.Duration // after boot
	VSize, RSS           uint64        // bytes
	Locked               bool          // has pages locked into memory
}

// Read reads one process. One that has ended is an error that is os.ErrNotExist.
func Read(pid int) (*Process, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	stat, err := readFile(dir + "stat")
	if err != nil {
		return nil, err
	}
	p := &Process{PID: pid}
	if err := p.parseStat(stat); err != nil {
		return nil, fmt.Errorf("cannot read %sstat: %w", dir, err)
	}
	status, err := readFile(dir + "status")
	if err != nil {
		return nil, err
	}
	p.parseStatus(string(status))
	cmdline, err := readFile(dir + "cmdline")
	if err != nil {
		return nil, err
	}
	if cmdline = bytes.TrimRight(cmdline, "\x00"); len(cmdline) > 0 {
		p.Command = strings.Split(string(cmdline), "\x00")
	}
	return p, nil
}

// readFile reads a file of a process.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return contents(f)
}

// contents reads an open file of a process. One that has ended since has ESRCH where one
// that had ended before has no file (proc(5) does not say so; fs/proc/base.c does).
func contents(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(f)
	if errors.Is(err, syscall.ESRCH) {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: fs.ErrNotExist}
	}
	return b, err
}

// parseStat reads the line of /proc/<pid>/stat. The name stands in parentheses and
// may hold any character, parentheses too.
func (p *Process) parseStat(line []byte) error {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return fmt.Errorf("no name in %q", line)
	}
	p.Name = string(line[open+1 : end])
	f := strings.Fields(string(line[end+1:]))
	if len(f) < 22 || len(f[0]) != 1 {
		return fmt.Errorf("too short: %q", line)
	}
	p.State = f[0][0]
	n := func(field int) int64 { // numbered as in proc(5), where the state is the third
		v, _ := strconv.ParseInt(f[field-3], 10, 64)
		return v
	}
	p.PPID, p.PGID, p.SID = int(n(4)), int(n(5)), int(n(6))
	p.TTY, p.Foreground = uint64(n(7)), int(n(8))
	p.CPU = time.Duration(n(14)+n(15)) * Tick
	p.Priority, p.Nice, p.Threads = int(n(18)), int(n(19)), int(n(20))
	p.Started = time.Duration(n(22)) * Tick
	p.VSize, p.RSS = uint64(n(23)), uint64(n(24))*uint64(os.Getpagesize())
	return nil
}

func (p *Process) parseStatus(text string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		switch {
		case len(f) == 0:
		case key == "Uid" && len(f) > 1:
			p.UID, p.EUID = number32(f[0]), number32(f[1])
		case key == "Gid":
			p.GID = number32(f[0])
		case key == "VmLck":
			p.Locked = f[0] != "0"
		}
	}
}

// Heeds tells whether a process catches, ignores or blocks a signal. What it does none
// of has the signal's default effect; on process 1 of a namespace it has none. One that has
// ended is an error that is os.ErrNotExist.
func Heeds(pid int, sig syscall.Signal) (bool, error) {
	text, err := readFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false, err
	}
	return heeds(string(text), sig), nil
}

func heeds(status string, sig syscall.Signal) bool {
	var sets uint64
	for line := range strings.Lines(status) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "SigBlk", "SigIgn", "SigCgt":
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			sets |= n
		}
	}
	return sets>>(uint(sig)-1)&1 == 1
}

func number32(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// Boot is when the machine started.
func Boot() (time.Time, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "btime "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			return time.Unix(n, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("cannot read /proc/stat: no btime")
}
