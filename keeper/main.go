package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/lib/version"
	"hoy/linux/spawn"
)

// readyFD is where the keeper says that it can be connected to, or why not.
const readyFD = 3

// Main is the keeper: hoy-keeper --exec-root DIR. args are without the program's name.
func Main(args []string) int {
	switch {
	case len(args) >= 1 && args[0] == "spawn-helper":
		return spawn.HelperMain()
	case len(args) == 1 && args[0] == "--version":
		fmt.Println("hoy-keeper", version.Version)
		return 0
	case len(args) == 2 && args[0] == "--exec-root" && args[1] != "":
		tune()
		if err := keep(args[1]); err != nil {
			tellStarter(err.Error())
			fmt.Fprintf(os.Stderr, "hoy-keeper: %v\n", err)
			return 1
		}
		return 0
	}
	fmt.Fprintln(os.Stderr, "usage: hoy-keeper --exec-root DIR (the engine starts it)")
	return 2
}

// tune makes the process small, and hard to look into and to kill.
func tune() {
	// The heap is a few 100 kB; collecting often costs little and keeps it there.
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(64 << 20)
	runtime.GOMAXPROCS(min(runtime.NumCPU(), 4))
	// Nobody in a container, whatever its capabilities, may look into a child that
	// still shares the keeper's memory: prctl(2), ptrace(2).
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0) // where allowed
}

// beUnwritable executes the program again, where a container cannot write to it.
func beUnwritable() error {
	const self = "/proc/self/exe"
	path, done, err := spawn.Unwritable(self)
	if err != nil || path == self {
		return err
	}
	defer done()
	return fmt.Errorf("cannot execute itself: execve: %w", unix.Exec(path, os.Args, os.Environ()))
}

// keep runs the keeper of an exec root until nobody needs it.
func keep(root string) error {
	if err := beUnwritable(); err != nil {
		return err
	}
	if err := makeDirs(root); err != nil {
		return err
	}
	s := newServer(root, newHelper())
	defer func() { s.helper.Close() }()
	will, err := inherit()
	if err != nil {
		return err
	}
	if err := s.own(will); err != nil {
		return err
	}
	defer func() { os.Remove(s.lock.Name()); s.lock.Close() }()
	if err := s.adopt(will); err != nil {
		return err
	}
	if will != nil {
		if err := failpoint.Hit(failpoint.KeeperUpgradeResumed); err != nil {
			fmt.Fprintf(os.Stderr, "hoy-keeper: %v\n", err) // there is no way back: what was adopted is served
		}
	}
	path := filepath.Join(root, "keeper.sock")
	if s.listener == nil {
		os.Remove(path)
		if s.listener, err = listen(path); err != nil {
			return err
		}
	}
	l := s.listener
	defer func() {
		os.Remove(path)
		l.Close()
		for _, d := range []string{"keeper", "io", "exits"} {
			os.Remove(filepath.Join(root, d)) // if empty
		}
	}()
	sig := make(chan os.Signal, 4)
	signal.Notify(sig, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	served := make(chan error, 1)
	go func() { served <- s.serve(l) }()
	grace := time.AfterFunc(adoptGrace, s.concludeOrphans)
	defer grace.Stop()
	tellStarter("")
	for {
		select {
		case <-s.quit:
			return nil
		case err := <-served:
			return err
		case got := <-sig:
			if got != syscall.SIGHUP {
				s.terminate()
			}
		}
	}
}

func newHelper() *spawn.Helper { return spawn.NewHelper("/proc/self/exe", "spawn-helper") }

// own makes the caller the only keeper of its exec root, which with a bequest it is.
func (s *server) own(will *bequest) (err error) {
	path := filepath.Join(s.root, "keeper.pid")
	if will == nil {
		s.lock, err = lock(path)
		return err
	}
	s.lock = os.NewFile(uintptr(will.Lock), path)
	s.listener, err = newSocket(will.Listener)
	return err
}

// tellStarter ends the wait of the one who started the keeper.
func tellStarter(problem string) {
	if _, err := unix.FcntlInt(readyFD, unix.F_GETFD, 0); err != nil || os.Getenv(readyEnv) == "" {
		return
	}
	if problem == "" {
		problem = "ready"
	}
	unix.Write(readyFD, []byte(problem))
	unix.Close(readyFD)
}

var errRunning = errors.New("another keeper runs for this exec root")

// lock returns the file that only one keeper of an exec root can lock.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("cannot lock exec root: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if err == unix.EWOULDBLOCK {
				return nil, fmt.Errorf("cannot lock %s: %w", path, errRunning)
			}
			return nil, fmt.Errorf("cannot lock exec root: flock: %w", err)
		}
		locked, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 != nil || err2 != nil || !os.SameFile(locked, there) {
			f.Close() // the one before removed it in the meantime
			continue
		}
		f.Truncate(0)
		f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		return f, nil
	}
}
