// Package dockerd starts engines by dockerd's command line, for what compares hoy with
// docker: the reference engine, and hoy's own under that name.
package dockerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// starting and ending are how long an engine may take to do so.
const (
	starting = 60 * time.Second
	ending   = 60 * time.Second
)

// Daemon is a running engine.
type Daemon struct {
	Dir  string // everything of this engine is below
	Host string // unix://…
	bin  string
	cmd  *exec.Cmd
	done chan error
}

// Start starts the program dockerd of the directory bin, with what it runs taken from
// there first, and waits until it answers. dir is made; its path must be short, as a
// socket's path has 107 bytes at most.
func Start(bin, dir string, flags ...string) (*Daemon, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	d := &Daemon{Dir: dir, Host: "unix://" + filepath.Join(dir, "s"), bin: bin, done: make(chan error, 1)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{"--config-file", os.DevNull, "--data-root", dir + "/data", "--exec-root", dir + "/run",
		"--pidfile", dir + "/pid", "--host", d.Host}, flags...)
	d.cmd = exec.Command(filepath.Join(bin, "dockerd"), args...)
	d.cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start an engine: %w", err)
	}
	go func() { d.done <- d.cmd.Wait() }()
	if err := d.ready(); err != nil {
		d.cmd.Process.Kill()
		return nil, fmt.Errorf("%w\n%s", err, d.Log())
	}
	return d, nil
}

// ready waits until the engine answers.
func (d *Daemon) ready() error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(d.Dir, "s"))
	}}}
	for deadline := time.Now().Add(starting); ; {
		r, err := c.Get("http://engine/_ping")
		if err == nil {
			r.Body.Close()
			return nil
		}
		select {
		case end := <-d.done:
			return fmt.Errorf("the engine has ended: %v", end)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the engine does not answer: %w", err)
		}
	}
}

// Log returns what the engine printed.
func (d *Daemon) Log() string {
	b, _ := os.ReadFile(filepath.Join(d.Dir, "log"))
	return string(b)
}

// Pid returns the process id of the engine.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Stop asks the engine to end and waits for it.
func (d *Daemon) Stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.done:
		return err
	case <-time.After(ending):
		d.cmd.Process.Kill()
		return errors.New("the engine does not end")
	}
}
