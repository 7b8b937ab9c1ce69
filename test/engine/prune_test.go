package engine

import (
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestPrune removes what is not used and nothing else.
func TestPrune(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "runs", "-v", "used:/v", "busybox", "sleep", "1000")
	e.Hoy("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
	e.Hoy("pause", "paused")
	e.Hoy("run", "--name", "ended", "--label", "keep", "-v", "/anonymous", "busybox", "sh", "-c", "echo 0123456789 >/f")
	e.Hoy("create", "--name", "created", "busybox", "true")
	e.Hoy("volume", "create", "named")
	names := func() string {
		return strings.Join(strings.Fields(e.Hoy("ps", "-a", "--format", "{{.Names}}")), " ")
	}
	for _, tc := range [][2]string{
		{"--filter=until=1h", "created ended paused runs"},
		{"--filter=label!=keep", "ended paused runs"},
		{"--filter=label=other", "ended paused runs"},
		{"--filter=until=0s", "paused runs"},
	} {
		e.Hoy("container", "prune", "-f", tc[0])
		if got := names(); got != tc[1] {
			t.Errorf("after %s: %s, want %s", tc[0], got, tc[1])
		}
	}
	if r := e.Try("container", "prune", "-f", "--filter", "until=x"); r.Code != 1 {
		t.Errorf("%+v", r)
	}
	out := e.Hoy("volume", "prune", "-f")
	if got := strings.Fields(e.Hoy("volume", "ls", "-q")); strings.Join(got, " ") != "named used" || !strings.HasPrefix(out, "Deleted Volumes:") {
		t.Errorf("volumes %s\n%s", got, out)
	}
	e.Hoy("volume", "prune", "-f", "-a")
	if got := e.Hoy("volume", "ls", "-q"); got != "used" {
		t.Errorf("volumes %s", got)
	}
	events := e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "event=prune", "--format", "{{.Type}}")
	if got := strings.Join(strings.Fields(events), " "); got != "container container container container volume volume" {
		t.Errorf("events %s", got)
	}
}
