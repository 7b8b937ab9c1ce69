package engine

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"hoy/test/rootful"
)

// TestUpgradeUnderClients has engines of other releases upgrade the keeper in place
// under a client that reads numbered lines and one on a terminal: nobody notices.
func TestUpgradeUnderClients(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	c := e.Command("run", "--name", "con", "busybox", "sh", "-c", `i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); usleep 1000; done; exit 7`)
	var out syncBuffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	d := e.dialog("run", "-it", "--name", "tty", "busybox", "sh")
	d.say("echo before $((40+2))", "before 42")
	lines := func() int { return strings.Count(out.String(), "\n") }
	keeper := e.KeeperPid()
	for _, release := range []string{"x", "xx", "xxx"} {
		was := lines()
		e.Eventually("more output", func() bool { return lines() > was+20 })
		e.upgradeKeeper(release)
		if now := e.KeeperPid(); now != keeper {
			t.Fatalf("keeper %d, want %d: the process stays", now, keeper)
		}
		d.say("echo "+release+" $((50+1))", release+" 51")
	}
	e.Hoy("exec", "con", "touch", "/stop")
	timer := time.AfterFunc(wait, func() { c.Process.Signal(syscall.SIGQUIT) })
	c.Wait()
	timer.Stop()
	numbered(t, out.String())
	if code := c.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	io.WriteString(d.tty, "exit 3\n")
	if code := d.end(); code != 3 {
		t.Errorf("exit code %d, want 3; the screen shows:\n%s", code, d.shown())
	}
	numbered(t, e.Try("logs", "con").Stdout)
	for name, want := range map[string]string{"con": "7", "tty": "3"} {
		if got := e.Hoy("inspect", "-f", "{{.State.ExitCode}}{{.State.Error}}", name); got != want {
			t.Errorf("%s: exit code and error %s, want %s", name, got, want)
		}
	}
	e.Hoy("rm", "con", "tty")
	e.nothingLeft()
}
