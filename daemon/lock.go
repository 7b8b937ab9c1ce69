package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/atomicfile"
	"hoy/lib/fault"
)

// lockRoots keeps a second engine out of the data root and the exec root. The
// locks last as long as the files are open.
func lockRoots(o *Options) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close()
		}
	}
	if err := ours(o.DataRoot); err != nil {
		return nil, err
	}
	for _, root := range []string{o.DataRoot, o.ExecRoot} {
		f, err := lock(root)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, f)
	}
	return unlock, nil
}

// ours refuses a data root that somebody else has filled: at its start the engine
// removes what no record speaks of, and must never do so in another program's files.
func ours(root string) error {
	if _, err := os.Lstat(filepath.Join(root, lockName)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot read the data root: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" { // a file system of its own
			return fault.New(fault.Conflict, "the data root %s is not empty and not hoy's (it holds %s): give an empty directory by --data-root", root, e.Name())
		}
	}
	return nil
}

// lockName is the file by which an engine knows its roots.
const lockName = "engine.lock"

func lock(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", root, err)
	}
	path := filepath.Join(root, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", root, err)
	}
	if err := flock(f); err != nil {
		owner, _ := os.ReadFile(path)
		f.Close()
		return nil, fault.New(fault.Conflict, "%s is in use by another engine, process %s", root, strings.TrimSpace(string(owner)))
	}
	if err := write(f, strconv.Itoa(os.Getpid())+"\n"); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", root, err)
	}
	return f, nil
}

// flock locks f. It waits a moment: an engine that was killed may have left a child
// between its birth and its exec, which has the lock still.
func flock(f *os.File) error {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || time.Since(begin) > time.Second {
			return err
		}
	}
}

// write replaces what is in f, in the block that it has: on a full disk there is no other.
func write(f *os.File, s string) error {
	if _, err := f.WriteAt([]byte(s), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(s)))
}

// writePidfile refuses when the file names another living process, as dockerd does.
func writePidfile(path string) error {
	if path == "" {
		return nil
	}
	if b, err := os.ReadFile(path); err == nil {
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		if pid > 0 && pid != os.Getpid() && staysAlive(pid) {
			return fault.New(fault.Conflict, "process with PID %d is still running", pid)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write the pidfile: %w", err)
	}
	return atomicfile.Write(path, []byte(strconv.Itoa(os.Getpid())), 0o644)
}

// staysAlive reports whether the process is an engine that lives. One that was
// killed a moment ago may still be on its way out, and its pid may be another
// program's by now.
func staysAlive(pid int) bool {
	for range 20 {
		if !isEngine(pid) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// isEngine compares names, as the engine may have been started under several
// (proc_pid_stat(5)): a process that has ended has no command line.
func isEngine(pid int) bool {
	own, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return false
	}
	dir := fmt.Sprintf("/proc/%d/", pid)
	other, _ := os.ReadFile(dir + "comm")
	command, _ := os.ReadFile(dir + "cmdline")
	return len(command) > 0 && string(other) == string(own)
}
