package engine

import (
	"os"
	"strings"
	"testing"
	"time"

	"hoy/test/rootful"
)

// counting is a container whose file /n grows while it runs.
func (e *Engine) counting(name string, options ...string) {
	e.t.Helper()
	e.Hoy(append(append([]string{"run", "-d", "--name", name}, options...), "busybox", "sh", "-c",
		"trap 'exit 3' TERM; while :; do echo >>/n; usleep 1000; done")...)
}

// grows tells whether the file grows.
func (e *Engine) grows(name string) bool {
	e.t.Helper()
	path := "/proc/" + e.Hoy("inspect", "-f", "{{.State.Pid}}", name) + "/root/n"
	size := func() int64 {
		st, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	before := size()
	time.Sleep(50 * time.Millisecond)
	return size() != before
}

func (e *Engine) status(name string) string {
	return e.Hoy("inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}}", name)
}

// TestPause freezes a container over a death of the engine, and refuses meanwhile what
// docker refuses, in docker's words.
func TestPause(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.counting("con")
	e.Eventually("it counts", func() bool { return e.grows("con") })
	id := e.Hoy("create", "--name", "idle", "busybox", "true")
	e.Hoy("pause", "con")
	if s := e.status("con"); s != "paused true true 0" || e.grows("con") {
		t.Errorf("paused: %s", s)
	}
	if s := e.Hoy("ps", "--format", "{{.Names}} {{.Status}}"); !strings.HasPrefix(s, "con Up ") || !strings.HasSuffix(s, "(Paused)") {
		t.Errorf("ps: %s", s)
	}
	for command, want := range map[string]string{
		"pause con":     "is already paused",
		"exec con true": "is paused, unpause the container before exec",
		"start con":     "cannot start a paused container, try unpause instead",
		"rm con":        "container is paused and must be unpaused first",
		"attach con":    "cannot attach to a paused container",
		"unpause idle":  "Container " + id + " is not paused",
		"pause idle":    "container " + id + " is not running",
	} {
		if r := e.Try(strings.Fields(command)...); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("hoy %s: %d %q, want %q", command, r.Code, r.Stderr, want)
		}
	}
	e.Kill()
	e.Up()
	if s := e.status("con"); s != "paused true true 0" || e.grows("con") {
		t.Errorf("paused, after a restart of the engine: %s", s)
	}
	e.Hoy("unpause", "con")
	e.Eventually("it goes on", func() bool { return e.grows("con") })
	if s := e.status("con"); s != "running true false 0" {
		t.Errorf("unpaused: %s", s)
	}
	events := e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "container=con", "--format", "{{.Action}}")
	if !strings.HasSuffix(events, "unpause") {
		t.Errorf("events: %s", events)
	}
}

// TestEndPaused ends paused containers in every way.
func TestEndPaused(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for _, tc := range []struct{ command, options, want string }{
		{"stop con", "", "exited false false 3"},
		{"kill con", "", "exited false false 137"},
		{"kill -s TERM con", "", "exited false false 3"},
		{"kill -s TERM con", "--stop-signal=TERM", "exited false false 3"},
		{"kill -s USR1 con", "--stop-signal=TERM", "paused true true 0"},
		{"restart con", "", "running true false 0"},
		{"rm -f con", "", ""},
	} {
		e.counting("con", strings.Fields(tc.options)...)
		e.Eventually("it counts", func() bool { return e.grows("con") })
		e.Hoy("pause", "con")
		e.Hoy(strings.Fields(tc.command)...)
		if tc.want == "" {
			continue
		}
		if strings.HasPrefix(tc.want, "exited") {
			e.Hoy("wait", "con")
		}
		if s := e.status("con"); s != tc.want {
			t.Errorf("hoy %s of a paused container: %s, want %s", tc.command, s, tc.want)
		}
		e.Hoy("rm", "-f", "con")
	}
	e.nothingLeft()
}

// TestRestart stops and starts: one that runs, one that does not, and one that is
// removed at its exit, which stays.
func TestRestart(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.counting("con", "--rm")
	e.Eventually("it counts", func() bool { return e.grows("con") })
	pid := e.Hoy("inspect", "-f", "{{.State.Pid}}", "con")
	for range 2 {
		e.Eventually("it counts, so its trap is set", func() bool { return e.grows("con") })
		e.Hoy("restart", "-t", "20", "con")
		if now := e.Hoy("inspect", "-f", "{{.State.Pid}} {{.State.ExitCode}}", "con"); now == pid+" 0" {
			t.Errorf("process %s goes on", now)
		}
	}
	if s := e.status("con"); s != "running true false 0" {
		t.Errorf("restarted: %s", s)
	}
	events := strings.Fields(e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "container=con", "--filter", "type=container", "--format", "{{.Action}}"))
	want := "create start kill die stop start restart kill die stop start restart"
	if got := strings.Join(events, " "); got != want {
		t.Errorf("events: %s\nwant:   %s", got, want)
	}
	e.Hoy("stop", "con")
	e.Eventually("its removal", func() bool { return e.Hoy("ps", "-aq") == "" })

	e.Hoy("create", "--name", "idle", "busybox", "sleep", "1000")
	e.Hoy("restart", "idle")
	if s := e.status("idle"); s != "running true false 0" {
		t.Errorf("started by a restart: %s", s)
	}
	if r := e.Try("restart", "nope"); r.Code != 1 || !strings.Contains(r.Stderr, "No such container: nope") {
		t.Errorf("of none: %+v", r)
	}
	e.Hoy("rm", "-f", "idle")
	e.nothingLeft()
}

// TestRename gives names away, over a restart of the engine.
func TestRename(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.counting("one")
	e.Hoy("create", "--name", "two", "--network", "container:one", "--pid", "container:one", "busybox", "true")
	for _, tc := range [][3]string{
		{"one", "one", "Renaming a container with the same name as its current name"},
		{"one", "two", `Conflict. The container name "/two" is already in use by container`},
		{"one", "a/b", "Error when allocating new name: Invalid container name ("},
		{"one", "", "Neither old nor new names may be empty"},
		{"none", "x", "No such container: none"},
	} {
		if r := e.Try("rename", tc[0], tc[1]); r.Code != 1 || !strings.Contains(r.Stderr, tc[2]) {
			t.Errorf("rename %q %q: %+v", tc[0], tc[1], r)
		}
	}
	e.Hoy("rename", "one", "three")
	e.Hoy("rename", "two", "one")
	e.Kill()
	e.Up()
	if got := strings.Join(strings.Fields(e.Hoy("ps", "-a", "--format", "{{.Names}}")), " "); got != "one three" {
		t.Errorf("names: %s", got)
	}
	e.Hoy("start", "-a", "one")
	e.Hoy("run", "--rm", "--name", "two", "busybox", "true")
	events := e.Hoy("events", "--since", "1", "--until", "0s")
	if strings.Contains(events, "rename") {
		t.Errorf("events of the engine before: %s", events)
	}
	e.Hoy("rename", "three", "four")
	if events = e.Hoy("events", "--since", "1", "--until", "0s", "-f", "event=rename"); !strings.Contains(events, "name=four, oldName=/three") {
		t.Errorf("events: %s", events)
	}
}
