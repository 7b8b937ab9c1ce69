package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// engineLog takes the output of an engine that the command line started.
const engineLog = "/var/log/hoyd.log"

// Launcher returns how to start the engine of the default socket, nil for users who
// may not. It tells w in one line what it did.
func Launcher(w io.Writer) func(context.Context) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return func(ctx context.Context) error {
		began := time.Now()
		exe, err := findEngine()
		if err != nil {
			return err
		}
		out, err := os.OpenFile(engineLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("cannot open the engine's log: %w", err)
		}
		defer out.Close()
		cmd := exec.Command(exe, "serve")
		cmd.Dir = "/"
		cmd.Stdout, cmd.Stderr = out, out
		// Its own session: the terminal's signals and its end are not the engine's.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("cannot start the engine %s: %w", exe, err)
		}
		if err := awaitEngine(ctx, cmd); err != nil {
			return err
		}
		fmt.Fprintf(w, "hoy: no engine was running: started %s serve in %d ms (log: %s)\n", exe, time.Since(began).Milliseconds(), engineLog)
		return nil
	}
}

// findEngine looks beside our own binary, then on the PATH.
func findEngine() (string, error) {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			p := filepath.Join(filepath.Dir(self), "hoyd")
			if _, err := os.Stat(p); err == nil {
				return p, nil
			}
		}
	}
	p, err := exec.LookPath("hoyd")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("no engine is running and hoyd is neither beside hoy nor on the PATH: start it by 'hoyd serve'")
	}
	return p, err
}

// awaitEngine returns when an engine answers on the default socket. That may be
// another one than ours: two command lines may start one at once, and the engine's
// lock lets one of them live.
func awaitEngine(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	c, err := New(Options{Endpoint: Endpoint{Host: "unix://" + DefaultSocket}})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(20 * time.Second)
	var exit error
	for time.Now().Before(deadline) {
		if c.Ping(ctx) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case exit = <-ended:
			if exit == nil {
				exit = errors.New("exit status 0")
			}
			ended = nil
			deadline = time.Now().Add(time.Second)
		case <-time.After(2 * time.Millisecond):
		}
	}
	if exit != nil {
		return fmt.Errorf("cannot start the engine: hoyd serve ended (%w); %s says why", exit, engineLog)
	}
	return fmt.Errorf("cannot start the engine: hoyd serve does not answer at %s; see %s", DefaultSocket, engineLog)
}
