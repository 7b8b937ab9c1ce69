package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

// state returns what inspect says of a container: status, exit code, restarts.
func (e *Engine) state(name string) string {
	return e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", name)
}

func (e *Engine) stateIs(name, want string) {
	e.t.Helper()
	e.Eventually(name+" is "+want, func() bool { return e.state(name) == want })
}

// TestRestartPolicies for once with a real clock: what docker's policies do at an
// exit, at a stop, and when another engine comes.
func TestRestartPolicies(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	run := func(name, policy, script string) {
		e.Hoy("run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c", script)
	}
	run("fails", "on-failure:2", "echo run; exit 3")
	run("succeeds", "on-failure", "exit 0")
	e.stateIs("fails", "exited 3 2")
	e.stateIs("succeeds", "exited 0 0")
	if n := strings.Count(e.Hoy("logs", "fails"), "run"); n != 3 {
		t.Errorf("it ran %d times, want 3", n)
	}
	events := e.Hoy("events", "--since", "1h", "--until", "0s", "--filter", "container=fails", "--format", "{{.Action}}")
	if got := strings.Fields(events); fmt.Sprint(got) != "[create start die start die start die]" {
		t.Errorf("events %v", got)
	}

	// A pause between two runs: everything that ends a container works at once.
	for _, by := range [][]string{{"stop", "con"}, {"kill", "con"}, {"rm", "-f", "con"}} {
		run("con", "always", "exit 1")
		e.Eventually("a long pause", func() bool {
			return strings.HasPrefix(e.state("con"), "restarting 1") && !strings.HasSuffix(e.state("con"), " 1")
		})
		if s := e.Hoy("ps", "--filter", "name=con", "--format", "{{.Status}}"); !strings.HasPrefix(s, "Restarting (1) ") {
			t.Errorf("ps: %q", s)
		}
		e.Hoy(by...)
		if by[0] != "rm" {
			if s := e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.Restarting}}", "con"); s != "exited false" {
				t.Errorf("%v: %s", by, s)
			}
			e.Hoy("rm", "con")
		}
	}
	e.Hoy("rm", "fails", "succeeds")
	e.nothingLeft()
}

// TestRestartsAcrossEngines: an engine that comes starts what should run, catches up
// with what ended while there was none, and leaves alone what the keeper held.
func TestRestartsAcrossEngines(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	wait := "trap 'exit 0' TERM; while ! test -e /end; do usleep 10000; done; rm /end; exit 1"
	for name, policy := range map[string]string{
		"lives": "always", "always": "always", "unless": "unless-stopped", "told": "unless-stopped", "ends": "on-failure", "once": "no"} {
		e.Hoy("run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c", wait)
	}
	e.Hoy("run", "-d", "--name", "joins", "--restart", "always", "--network", "container:unless", "busybox", "sleep", "1000")
	e.Hoy("stop", "always", "told")
	lives := e.Hoy("inspect", "-f", "{{.State.Pid}}", "lives")
	pid := e.Hoy("inspect", "-f", "{{.State.Pid}}", "ends")
	e.Kill()
	if err := os.WriteFile("/proc/"+pid+"/root/end", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Up()
	for name, want := range map[string]string{
		"always": "running 0 0", "told": "exited 0 0", "unless": "running 0 0", "joins": "running 0 0", "ends": "running 0 1", "once": "running 0 0"} {
		e.stateIs(name, want)
	}
	if now := e.Hoy("inspect", "-f", "{{.State.Pid}}", "lives"); now != lives {
		t.Errorf("what ran on has pid %s, had %s", now, lives)
	}

	// As after a reboot: nothing runs any more, and nobody saw it end.
	pids := strings.Fields(e.Hoy("inspect", "-f", "{{.State.Pid}}", "lives", "always", "unless", "joins", "ends", "once"))
	e.Kill()
	e.KillKeeper()
	for _, s := range pids {
		if pid, err := strconv.Atoi(s); err != nil || unix.Kill(pid, unix.SIGKILL) != nil {
			t.Fatalf("cannot kill %s", s)
		}
	}
	e.Up()
	for name, want := range map[string]string{
		"lives": "running", "always": "running", "unless": "running", "joins": "running", "ends": "running", "told": "exited", "once": "exited"} {
		e.Eventually(name+" is "+want, func() bool { return e.Hoy("inspect", "-f", "{{.State.Status}}", name) == want })
	}
	for _, name := range []string{"lives", "always", "unless", "joins", "ends", "told", "once"} {
		e.Hoy("rm", "-f", name)
	}
	e.nothingLeft()
}
