package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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

func lock(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("cannot make %s: %w", root, err)
	}
	path := filepath.Join(root, "engine.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", root, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(path)
		f.Close()
		return nil, fault.New(fault.Conflict, "%s is in use by another engine, process %s", root, strings.TrimSpace(string(owner)))
	}
	if err := errors.Join(f.Truncate(0), write(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", root, err)
	}
	return f, nil
}

func write(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// writePidfile refuses when the file names another living process, as dockerd does.
func writePidfile(path string) error {
	if path == "" {
		return nil
	}
	if b, err := os.ReadFile(path); err == nil {
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		if pid > 0 && pid != os.Getpid() && unix.Kill(pid, 0) != unix.ESRCH {
			return fault.New(fault.Conflict, "process with PID %d is still running", pid)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write the pidfile: %w", err)
	}
	return atomicfile.Write(path, []byte(strconv.Itoa(os.Getpid())), 0o644)
}
