// Package engine starts real engines for tests: the three programs as users get
// them, each engine with its own directories, socket, bridge and addresses.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"hoy/test/eventually"
	"hoy/test/rootful"
)

// wait is how long a test waits for something that should happen at once; in an emulated
// machine an engine's first start takes half a minute.
const wait = eventually.Patience

// Engine is a running hoyd with its keeper.
type Engine struct {
	t       testing.TB
	Dir     string // everything of this engine is below
	Host    string // unix:///…
	flags   []string
	env     []string
	outside bool // in the machine's network namespace
	cmd     *exec.Cmd
	log     *os.File
}

// Root is the top of the source tree.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

var build = sync.OnceValue(func() error {
	// Several test binaries may want the programs at once.
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "hoy-build.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	c := exec.Command("make", "-s", "build")
	c.Dir = Root()
	c.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
})

// Bin returns the path of one of the programs, built from the present source, or
// before and put into the directory HOY_TEST_BIN.
func Bin(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("HOY_TEST_BIN"); dir != "" {
		return filepath.Join(dir, name)
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(Root(), "bin", name)
}

// Start starts an engine with additional flags of hoyd. It ends with the test,
// with every container it has.
func Start(t testing.TB, flags ...string) *Engine {
	t.Helper()
	return start(t, false, flags)
}

// StartOnHostNetwork is Start for an engine whose containers reach the package
// mirrors: it is in the machine's network namespace, not in that of the tests.
func StartOnHostNetwork(t testing.TB, flags ...string) *Engine {
	t.Helper()
	return start(t, true, flags)
}

func start(t testing.TB, outside bool, flags []string) *Engine {
	t.Helper()
	hoyd := Bin(t, "hoyd")
	dir, err := os.MkdirTemp("", "hoy-engine") // short: a socket's path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{t: t, Dir: dir, Host: "unix://" + dir + "/s", outside: outside}
	if e.log, err = os.Create(dir + "/log"); err != nil {
		t.Fatal(err)
	}
	e.flags = append([]string{hoyd, "serve", "--data-root", dir + "/data", "--exec-root", dir + "/run", "--host", e.Host,
		"--bridge", "hoy" + strconv.Itoa(os.Getpid()%100000) + "t", "--pidfile", dir + "/pid"}, flags...)
	t.Cleanup(e.end)
	e.Up()
	return e
}

// Setenv sets a variable (K=V) in the environment of engines started by Up from now on.
func (e *Engine) Setenv(kv ...string) { e.env = kv }

// Up starts the engine, which must not be running, and waits until it answers.
func (e *Engine) Up() {
	e.t.Helper()
	e.Launch()
	deadline := time.Now().Add(wait)
	for {
		err := e.Ping()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || unix.Kill(e.cmd.Process.Pid, 0) != nil || e.exited() {
			e.t.Fatalf("the engine does not answer: %v\n%s", err, e.Log())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Launch starts the engine without waiting for it.
func (e *Engine) Launch() {
	e.t.Helper()
	e.cmd = exec.Command(e.flags[0], e.flags[1:]...)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.Env = append(os.Environ(), e.env...)
	if e.outside {
		e.cmd = rootful.OnHostNetwork(e.cmd)
	}
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
}

// exited says, without reaping it, whether the engine has ended.
func (e *Engine) exited() bool {
	var si unix.Siginfo
	err := unix.Waitid(unix.P_PID, e.cmd.Process.Pid, &si, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && si.Signo != 0
}

// Wait waits for the end of the engine and returns how it ended.
func (e *Engine) Wait() error {
	done := make(chan error, 1)
	go func() { done <- e.cmd.Wait() }()
	select {
	case err := <-done:
		e.cmd = nil
		return err
	case <-time.After(wait):
		e.t.Fatalf("the engine does not end\n%s", e.Log())
		return nil
	}
}

// Pid returns the process id of the engine.
func (e *Engine) Pid() int { return e.cmd.Process.Pid }

// Kill ends the engine by SIGKILL and waits for its end.
func (e *Engine) Kill() {
	e.t.Helper()
	e.cmd.Process.Kill()
	e.Wait()
}

// KeeperPid returns the process id of the engine's keeper, 0 if there is none.
func (e *Engine) KeeperPid() int {
	for _, p := range e.processes("hoy-keeper") {
		if cmd := cmdline(p); len(cmd) < 2 || cmd[1] != "spawn-helper" {
			return p
		}
	}
	return 0
}

// KillKeeper ends the keeper by SIGKILL.
func (e *Engine) KillKeeper() {
	e.t.Helper()
	p := e.KeeperPid()
	if p == 0 {
		e.t.Fatal("there is no keeper to kill")
	}
	if err := unix.Kill(p, unix.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
}

func cmdline(pid int) []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// processes lists those of a program that work for this engine.
func (e *Engine) processes(program string) []int {
	es, _ := os.ReadDir("/proc")
	var ps []int
	for _, d := range es {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		c := cmdline(pid)
		if filepath.Base(c[0]) == program && strings.Contains(strings.Join(c, " "), e.Dir) {
			ps = append(ps, pid)
		}
	}
	return ps
}

// Log returns what the engine printed.
func (e *Engine) Log() string {
	b, _ := os.ReadFile(e.log.Name())
	return string(b)
}

// HTTP returns a client for the engine's API; the host part of URLs does not matter.
func (e *Engine) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(e.Host, "unix://"))
	}, DisableKeepAlives: true}}
}

// Ping asks the engine whether it is there.
func (e *Engine) Ping() error {
	r, err := e.HTTP().Get("http://hoy/_ping")
	if err != nil {
		return err
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Command returns a hoy command line for this engine, not yet started.
func (e *Engine) Command(args ...string) *exec.Cmd {
	c := exec.Command(Bin(e.t, "hoy"), args...)
	c.Env = append(os.Environ(), "HOY_HOST="+e.Host)
	return c
}

// Try runs a hoy command.
func (e *Engine) Try(args ...string) Result { return e.TryIn(nil, args...) }

// TryIn is Try with standard input.
func (e *Engine) TryIn(stdin io.Reader, args ...string) Result {
	e.t.Helper()
	c := e.Command(args...)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = stdin, &out, &errs
	if err := c.Start(); err != nil {
		e.t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { c.Process.Signal(syscall.SIGQUIT) })
	c.Wait()
	timer.Stop()
	return Result{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// Terminal runs a hoy command on a terminal, types input, and returns what the
// terminal showed and the exit code.
func (e *Engine) Terminal(input string, args ...string) (string, int) {
	e.t.Helper()
	c := e.Command(args...)
	tty, err := pty.Start(c)
	if err != nil {
		e.t.Fatal(err)
	}
	defer tty.Close()
	timer := time.AfterFunc(wait, func() { c.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	if _, err := io.WriteString(tty, input); err != nil {
		e.t.Fatal(err)
	}
	var out bytes.Buffer
	io.Copy(&out, tty) // ends with EIO when the command has ended
	c.Wait()
	return out.String(), c.ProcessState.ExitCode()
}

// Hoy runs a hoy command, which must succeed, and returns its trimmed output.
func (e *Engine) Hoy(args ...string) string {
	e.t.Helper()
	r := e.Try(args...)
	if r.Code != 0 {
		e.t.Fatalf("hoy %s: exit code %d\n%s%s\nengine:\n%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr, tail(e.Log()))
	}
	return strings.TrimSpace(r.Stdout)
}

func tail(s string) string {
	if len(s) > 3000 {
		return "…" + s[len(s)-3000:]
	}
	return s
}

// Eventually polls f until it says true.
func (e *Engine) Eventually(what string, f func() bool) {
	e.t.Helper()
	if !eventually.Is(f) {
		e.t.Fatalf("in vain waited for: %s\nengine:\n%s", what, tail(e.Log()))
	}
}

// end removes the containers and ends engine and keeper. If the test failed, the
// engine's log is shown.
func (e *Engine) end() {
	if e.t.Failed() {
		e.t.Logf("engine:\n%s", tail(e.Log()))
	}
	if e.cmd == nil {
		e.env = nil
		e.Up()
	}
	if ids := strings.Fields(e.Try("ps", "-aq", "--no-trunc").Stdout); len(ids) > 0 {
		e.Try(append([]string{"rm", "-f", "-v"}, ids...)...)
	}
	e.cmd.Process.Signal(syscall.SIGTERM)
	if err := e.Wait(); err != nil && !e.t.Failed() {
		e.t.Errorf("the engine ended with: %v\n%s", err, tail(e.Log()))
	}
	e.endKeeper()
	e.log.Close()
	if err := os.RemoveAll(e.Dir); err != nil {
		e.t.Error(err)
	}
}

// endKeeper asks the keeper of an engine that has ended to end, as it does by itself
// a moment later. One that holds something does not.
func (e *Engine) endKeeper() {
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		keepers := e.processes("hoy-keeper")
		if len(keepers) == 0 {
			return
		}
		signal := unix.SIGTERM
		if time.Now().After(deadline) {
			e.t.Errorf("the keeper of an engine that is gone does not end; it still holds something")
			signal = unix.SIGKILL
		}
		for _, p := range keepers {
			unix.Kill(p, signal)
		}
	}
}
