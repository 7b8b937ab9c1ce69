package engine

import (
	"strings"
	"testing"

	"hoy/test/rootful"
)

// health returns what inspect says of a container's health: status and failures.
func (e *Engine) health(name string) string {
	return e.Hoy("inspect", "-f", "{{.State.Health.Status}}", name)
}

func (e *Engine) healthIs(name, want string) {
	e.t.Helper()
	e.Eventually(name+" is "+want, func() bool { return e.health(name) == want })
}

// TestHealthChecks for once with a real clock: from starting over healthy to
// unhealthy and back, under a dying engine, and to the end.
func TestHealthChecks(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "--health-cmd", "echo probed; test -e /ok", "--health-interval", "50ms", "--health-retries", "2", "--health-start-period", "1h",
		"--health-start-interval", "20ms", "busybox", "sleep", "1000")
	e.Eventually("a probe that fails", func() bool { return strings.Contains(e.Hoy("inspect", "con"), "probed") })
	if s := e.Hoy("ps", "--format", "{{.Status}}"); !strings.HasSuffix(s, " (health: starting)") {
		t.Errorf("ps: %q", s)
	}
	e.Hoy("exec", "con", "touch", "/ok")
	e.healthIs("con", "healthy")
	if s := e.Hoy("ps", "--filter", "health=healthy", "--format", "{{.Status}}"); !strings.HasSuffix(s, " (healthy)") {
		t.Errorf("ps: %q", s)
	}
	e.Kill()
	e.Up()
	e.healthIs("con", "healthy") // found out anew by the next engine
	e.Hoy("exec", "con", "rm", "/ok")
	e.healthIs("con", "unhealthy")
	e.Eventually("five results", func() bool { return e.Hoy("inspect", "-f", "{{len .State.Health.Log}}", "con") == "5" })
	e.Eventually("no probe is left", func() bool { return e.Hoy("inspect", "-f", "{{len .ExecIDs}}", "con") == "0" })
	events := e.Hoy("events", "--since", "1h", "--until", "0s", "--filter", "container=con", "--format", "{{.Action}}")
	for _, want := range []string{"exec_create: /bin/sh -c echo probed; test -e /ok", "exec_start: /bin/sh -c echo probed; test -e /ok", "exec_die", "health_status: unhealthy"} {
		if !strings.Contains(events+"\n", want+"\n") {
			t.Errorf("there is no event %q in\n%s", want, events)
		}
	}
	e.Hoy("rm", "-f", "con")
	e.nothingLeft()
}

// TestHealthProbes that are slow, talk too much, or do not start.
func TestHealthProbes(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for _, tc := range []struct{ name, cmd, output string }{
		{"slow", "echo begun; exec sleep 1000", "-1 Health check exceeded timeout (200ms): begun\n"},
		{"orphan", "sleep 1000 & echo begun; exec sleep 1000", "-1 Health check exceeded timeout (200ms): begun\n"},
		{"long", "yes | head -c 100000", "0 " + strings.Repeat("y\n", 2048) + "..."},
		{"both", "echo out; echo err >&2; exit 5", "5 out\nerr\n"},
	} {
		e.Hoy("run", "-d", "--name", "probe-"+tc.name, "--health-cmd", tc.cmd, "--health-interval", "50ms", "--health-timeout", "200ms", "busybox", "sleep", "1000")
		first := func() string {
			r := e.Try("inspect", "-f", "{{with .State.Health.Log}}{{(index . 0).ExitCode}} {{(index . 0).Output}}{{end}}", "probe-"+tc.name)
			return strings.TrimSuffix(r.Stdout, "\n")
		}
		e.Eventually("a result", func() bool { return first() != "" })
		got := first()
		if tc.name == "both" { // two streams, in whichever order they are read
			got = strings.Replace(got, "err\nout", "out\nerr", 1)
		}
		if got != tc.output {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.output)
		}
		e.Hoy("rm", "-f", "probe-"+tc.name)
	}
	e.nothingLeft()
}

// TestOnUnhealthy is what docker has not: a container that is not well is ended, or
// started again.
func TestOnUnhealthy(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	run := func(name, action string) {
		e.Hoy("run", "-d", "--name", name, "--on-unhealthy", action, "--health-cmd", "test -e /ok", "--health-interval", "50ms", "--health-retries", "1",
			"busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do usleep 10000; done")
	}
	run("stopped", "stop")
	e.stateIs("stopped", "exited 7 0")
	run("restarted", "restart")
	e.Eventually("two restarts", func() bool { return strings.HasSuffix(e.state("restarted"), " 2") })
	e.Hoy("stop", "restarted")
	if s := e.state("restarted"); !strings.HasPrefix(s, "exited ") {
		t.Errorf("stopped by hand: %s", s)
	}
	e.Hoy("update", "--on-unhealthy", "none", "restarted")
	e.Hoy("start", "restarted")
	e.healthIs("restarted", "unhealthy")
	e.Hoy("update", "--on-unhealthy", "stop", "restarted")
	e.stateIs("restarted", "exited 7 0")
	if r := e.Try("create", "--rm", "--on-unhealthy", "restart", "busybox", "true"); r.Code != 1 || !strings.Contains(r.Stderr, "AutoRemove") {
		t.Errorf("--rm: %+v", r)
	}
	e.Hoy("rm", "stopped", "restarted")
	e.nothingLeft()
}
