package engine

import (
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestOOM: a child is killed for lack of memory, and the container goes on; the
// engine tells at once, once, and the next engine knows. Then the container itself.
func TestOOM(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	told := func(name string) int {
		return strings.Count(e.Hoy("events", "--since", "1h", "--until", "0s", "--filter", "container="+name, "--format", "{{.Action}}|"), "oom|")
	}
	killed := func(name string) string {
		return e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.OOMKilled}}", name)
	}
	limits := []string{"-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c"}
	e.Hoy(append([]string{"run", "-d", "--name", "parent"}, append(limits, "dd if=/dev/zero of=/dev/null bs=64M count=1; exec sleep 1000")...)...)
	e.Eventually("the kill is known", func() bool { return killed("parent") == "running true" })
	e.Eventually("it is told once", func() bool { return told("parent") == 1 })
	e.Kill()
	e.Up()
	if s, n := killed("parent"), told("parent"); s != "running true" || n != 0 {
		t.Errorf("with the next engine: %s, told %d times", s, n)
	}
	e.Hoy("stop", "-t", "0", "parent")
	if s := killed("parent"); s != "exited true" {
		t.Errorf("at the end: %s", s)
	}
	e.Hoy("start", "parent")
	e.Try(append([]string{"run", "--name", "self"}, append(limits, "exec dd if=/dev/zero of=/dev/null bs=64M count=1")...)...)
	if s, n := killed("self"), told("self"); s != "exited true" || n != 1 {
		t.Errorf("the first process: %s, told %d times", s, n)
	}
	e.Hoy("rm", "-f", "parent", "self")
	e.nothingLeft()
}
