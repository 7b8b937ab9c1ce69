package engine

import (
	"fmt"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestInit runs containers whose first process is the engine's own static init.
func TestInit(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	if out := e.Hoy("run", "--rm", "--init", "busybox", "ps", "-o", "pid,args"); !strings.Contains(out, "1 /sbin/docker-init -- ps") {
		t.Errorf("processes:\n%s", out)
	}
	for _, tc := range []struct {
		want int
		args []string
	}{
		{0, []string{"busybox", "true"}},
		{7, []string{"busybox", "sh", "-c", "exit 7"}},
		{137, []string{"busybox", "sh", "-c", "kill -9 $$"}},
		{127, []string{"busybox", "no-such-program"}},
		{3, []string{"--user", "app", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "busybox", "sh", "-c", "exit 3"}},
	} {
		if r := e.Try(append([]string{"run", "--rm", "--init"}, tc.args...)...); r.Code != tc.want {
			t.Errorf("%q: %+v, want exit code %d", tc.args, r, tc.want)
		}
	}
	if out, code := e.Terminal("echo $((40+2)) at `tty`; exit 5\n", "run", "--rm", "-it", "--init", "busybox", "sh"); !strings.Contains(out, "42 at /dev/") || code != 5 {
		t.Errorf("on a terminal: exit code %d, %q", code, out)
	}
	if w := e.Hoy("info"); strings.Contains(w, "static init") {
		t.Errorf("info warns:\n%s", w)
	}
}

// TestInitHandsSignalsOn stops a container whose program has a handler, which as
// process 1 it would not need, and one that has none.
func TestInitHandsSignalsOn(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for i, tc := range []struct{ want, script string }{
		{"9", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"},
		{"143", "echo ready; exec sleep 1000"}, // not 137: SIGTERM ends it, as it is not process 1
	} {
		name := fmt.Sprint("con", i)
		e.Hoy("run", "-d", "--init", "--name", name, "busybox", "sh", "-c", tc.script)
		e.Eventually("the program", func() bool { return strings.Contains(e.Try("logs", name).Stdout, "ready") })
		e.Hoy("stop", "-t", "10", name)
		if code := e.Hoy("inspect", "-f", "{{.State.ExitCode}}", name); code != tc.want {
			t.Errorf("%s: exit code %s, want %s", tc.script, code, tc.want)
		}
	}
}
