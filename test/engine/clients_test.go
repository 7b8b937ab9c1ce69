package engine

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"hoy/test/rootful"
)

// dialog is a hoy command on a terminal on which the test types and reads.
type dialog struct {
	e    *Engine
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{} // closed when the terminal has hung up

	mu  sync.Mutex
	out bytes.Buffer
}

// dialog starts a command on a terminal.
func (e *Engine) dialog(args ...string) *dialog {
	e.t.Helper()
	d := &dialog{e: e, cmd: e.Command(args...), done: make(chan struct{})}
	var err error
	if d.tty, err = pty.Start(d.cmd); err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer close(d.done)
		io.Copy(d, d.tty) // ends with EIO when the command has ended
	}()
	return d
}

func (d *dialog) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(b)
}

func (d *dialog) shown() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// say types a line and waits until the answer is on the screen.
func (d *dialog) say(line, answer string) {
	d.e.t.Helper()
	if _, err := io.WriteString(d.tty, line+"\n"); err != nil {
		d.e.t.Fatal(err)
	}
	for deadline := time.Now().Add(wait); !strings.Contains(d.shown(), answer); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.cmd.Process.Signal(syscall.SIGQUIT)
			d.end()
			d.e.t.Fatalf("%q brought no %q; the screen shows:\n%s", line, answer, d.shown())
		}
	}
}

// end waits for the command's end and returns its exit code.
func (d *dialog) end() int {
	timer := time.AfterFunc(wait, func() { d.cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	d.cmd.Wait()
	<-d.done
	d.tty.Close()
	return d.cmd.ProcessState.ExitCode()
}

// TestTerminalClientSurvivesCrashes talks with a shell through clients that are
// attached, in three ways, while a part of hoy is killed: they go on, to the shell's
// exit code.
func TestTerminalClientSurvivesCrashes(t *testing.T) {
	for _, name := range []string{"engine", "keeper"} { // with both gone the terminal hangs up
		for _, how := range []string{"attach", "run", "exec"} {
			t.Run(name+" "+how, func(t *testing.T) {
				rootful.Check(t)
				e := Start(t)
				e.ImportBusybox()
				if how != "run" {
					e.Hoy("run", "-dit", "--name", "con", "busybox", "sh")
				}
				d := e.dialog(map[string][]string{
					"attach": {"attach", "con"}, "run": {"run", "-it", "--name", "con", "busybox", "sh"}, "exec": {"exec", "-it", "con", "sh"},
				}[how]...)
				d.say("echo before $((40+2))", "before 42")
				crashes[name](e)
				d.say("echo after $((50+1))", "after 51")
				crashes[name](e)
				d.say("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line$i; done; echo last $((60+1))", "last 61")
				if n := strings.Count(d.shown(), "\nline"); n != 3000 {
					t.Errorf("%d lines on the screen, want 3000", n)
				}
				io.WriteString(d.tty, "exit 3\n")
				if code := d.end(); code != 3 {
					t.Errorf("exit code %d, want 3; the screen shows:\n%s", code, d.shown())
				}
			})
		}
	}
}

// TestClientMissesNoLine has clients without a terminal, of a container and of an
// exec, read numbered lines while engine and keeper are killed in turn.
func TestClientMissesNoLine(t *testing.T) {
	for _, how := range [][]string{{"run", "--name", "con", "busybox"}, {"exec", "con"}} {
		t.Run(how[0], func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			if how[0] == "exec" {
				e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
			}
			c := e.Command(append(how, "sh", "-c", `i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); usleep 1000; done; exit 7`)...)
			var out syncBuffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			lines := func() int { return strings.Count(out.String(), "\n") }
			for _, name := range []string{"keeper", "engine", "keeper", "keeper", "engine", ""} {
				was := lines()
				e.Eventually("more output", func() bool { return lines() > was+20 })
				if name != "" {
					crashes[name](e)
				}
			}
			e.Hoy("exec", "con", "touch", "/stop")
			timer := time.AfterFunc(wait, func() { c.Process.Signal(syscall.SIGQUIT) })
			c.Wait()
			timer.Stop()
			numbered(t, out.String())
			if code := c.ProcessState.ExitCode(); code != 7 {
				t.Errorf("exit code %d, want 7", code)
			}
		})
	}
}

// syncBuffer is a buffer that can be read while it is written to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestRunningClientSurvivesCrashes has a client in the foreground, without a
// terminal, while a part of hoy dies.
func TestRunningClientSurvivesCrashes(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			c := e.Command("run", "--name", "con", "busybox", "sh", "-c", "echo first; while [ ! -e /go ]; do usleep 10000; done; echo last; exit 9")
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			e.Eventually("the first line", func() bool { return e.Try("logs", "con").Stdout == "first\n" })
			crash(e)
			e.Hoy("exec", "con", "touch", "/go")
			timer := time.AfterFunc(wait, func() { c.Process.Signal(syscall.SIGQUIT) })
			c.Wait()
			timer.Stop()
			if code := c.ProcessState.ExitCode(); code != 9 {
				t.Errorf("exit code %d, want 9: %s", code, out.String())
			}
			// Engine and keeper have the client's socket both: with both it is gone, and
			// what was printed meanwhile is in the log.
			if name != "both" && out.String() != "first\nlast\n" {
				t.Errorf("the client printed %q", out.String())
			}
			if log := e.Hoy("logs", "con"); log != "first\nlast" {
				t.Errorf("the log has %q", log)
			}
		})
	}
}

// TestAttachedExecAcrossCrashes has a client of an exec while a part of hoy dies: it
// gets the command's exit code.
func TestAttachedExecAcrossCrashes(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
			c := e.Command("exec", "con", "sh", "-c", "touch /begun; while [ ! -e /go ]; do usleep 10000; done; echo out; exit 9")
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			e.Eventually("the command", func() bool { return e.Try("exec", "con", "test", "-e", "/begun").Code == 0 })
			crash(e)
			e.Hoy("exec", "con", "touch", "/go")
			timer := time.AfterFunc(wait, func() { c.Process.Signal(syscall.SIGQUIT) })
			c.Wait()
			timer.Stop()
			if code := c.ProcessState.ExitCode(); code != 9 {
				t.Errorf("exit code %d, want 9: %s", code, out.String())
			}
			if name != "both" && out.String() != "out\n" {
				t.Errorf("the client printed %q", out.String())
			}
		})
	}
}

// TestEngineEndsUnderAttachedClient ends the engine politely while a client is
// attached: the engine does not wait for the client, the client outlives the engine.
func TestEngineEndsUnderAttachedClient(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-dit", "--name", "con", "busybox", "sh")
	d := e.dialog("attach", "con")
	d.say("echo before $((40+2))", "before 42")
	e.endGently()
	d.say("echo without $((40+3))", "without 43")
	e.Up()
	d.say("echo after $((40+4))", "after 44")
	io.WriteString(d.tty, "exit 3\n")
	if code := d.end(); code != 3 {
		t.Errorf("exit code %d, want 3; the screen shows:\n%s", code, d.shown())
	}
}

// TestExitWhileAttaching attaches to containers that end at that moment.
func TestExitWhileAttaching(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for i := range 10 {
		e.Hoy("create", "--name", "con", "busybox", "sh", "-c", fmt.Sprintf("usleep %d; exit 4", i*2000))
		parallel(4, 4, func(j int) {
			if j == 0 {
				e.Hoy("start", "con")
				return
			}
			if r := e.Try("attach", "con"); r.Code != 4 && !strings.Contains(r.Stderr, "stopped container") {
				t.Errorf("attach: %+v", r)
			}
		})
		e.Hoy("wait", "con")
		e.Hoy("rm", "con")
	}
	e.nothingLeft()
}
