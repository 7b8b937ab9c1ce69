package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reach connects to a keeper, starting one if there is none.
func reach(ctx context.Context, o Options, again bool) (*socket, error) {
	if err := os.MkdirAll(o.ExecRoot, 0o711); err != nil {
		return nil, fmt.Errorf("cannot start keeper: %w", err)
	}
	path := filepath.Join(o.ExecRoot, "keeper.sock")
	var err error
	for range attempts {
		var s *socket
		if s, err = dial(path); err == nil {
			return s, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EAGAIN) {
			return nil, err
		}
		if err = lost(o.ExecRoot); err == nil {
			if err = launch(ctx, o, again); err != nil && !errors.Is(err, errRunning) {
				return nil, err
			}
		}
		if err != nil { // another one is just starting, or just ending
			select {
			case <-time.After(attemptPause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return nil, err
}

// launch starts a keeper as a daemon, and returns when it can be connected to.
func launch(ctx context.Context, o Options, again bool) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer null.Close()
	log, err := os.OpenFile(filepath.Join(o.ExecRoot, "keeper.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	defer r.Close()
	p, err := os.StartProcess(o.Exec, []string{"hoy-keeper", "--exec-root", o.ExecRoot}, &os.ProcAttr{
		Dir: "/", Env: keeperEnv(again), Files: []*os.File{null, log, log, w}, Sys: o.birth()})
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot start keeper: %w", err)
	}
	go p.Wait() // reaps it, should it die before its engine
	if d, ok := ctx.Deadline(); ok {
		r.SetReadDeadline(d)
	}
	said := make([]byte, 4096)
	n, err := r.Read(said)
	switch text := string(said[:n]); {
	case text == "ready":
		return nil
	case strings.Contains(text, errRunning.Error()):
		return errRunning
	case text != "":
		return fmt.Errorf("cannot start keeper: %s", text)
	case err != nil:
		return fmt.Errorf("cannot start keeper: it said nothing and ended: see %s: %w", log.Name(), err)
	}
	return nil
}

// keeperEnv is the keeper's environment: nothing of the engine's, which may hold
// secrets, but what tests need. A successor does not get the failpoints at which its
// predecessor died, or it would die there too.
func keeperEnv(again bool) []string {
	env := []string{readyEnv + "=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "GOCOVERDIR=") || strings.HasPrefix(e, "HOY_FAILPOINT") && !(again && strings.HasPrefix(e, "HOY_FAILPOINT=")) {
			env = append(env, e)
		}
	}
	return env
}

// birth is how a keeper is started: beside us, not below.
func (o *Options) birth() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true}
	if o.Cgroup != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(o.Cgroup.Fd())
	}
	return a
}
