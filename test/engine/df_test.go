package engine

import (
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestDiskUsage: the report counts what was made, and a prune takes what nothing uses.
func TestDiskUsage(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "runs", "-v", "data:/data", "busybox", "sh", "-c", "head -c 1000000 /dev/zero >/data/f; head -c 3000000 /dev/zero >/g; sleep 1000")
	e.Hoy("run", "--name", "ended", "-v", "/anonymous", "busybox", "sh", "-c", "head -c 2000000 /dev/zero >/f; head -c 500000 /dev/zero >/anonymous/f")
	e.Hoy("tag", "busybox", "second:1")
	e.Eventually("the files", func() bool { return e.Try("exec", "runs", "test", "-s", "/g").Code == 0 })
	sums := e.Hoy("system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}")
	for _, want := range []string{"Images|1|1|", "Containers|2|1|5.", "Local Volumes|2|2|1.5MB|0B (0%)", "Build Cache|0|0|0B|0B"} {
		if !strings.Contains(sums, want) {
			t.Errorf("sums lack %q:\n%s", want, sums)
		}
	}
	tables := e.Hoy("system", "df", "-v")
	for _, want := range []string{"second", "ended", "data", "1MB", "Build cache usage: 0B"} {
		if !strings.Contains(tables, want) {
			t.Errorf("tables lack %q:\n%s", want, tables)
		}
	}
	gone := e.Hoy("system", "prune", "-f", "--volumes")
	if !strings.Contains(gone, "Deleted Containers:") || !strings.Contains(gone, "Deleted Volumes:") || !strings.Contains(gone, "Total reclaimed space: 2.5") {
		t.Errorf("prune: %s", gone)
	}
	if left := e.Hoy("ps", "-aq", "--format", "{{.Names}}") + " " + e.Hoy("volume", "ls", "-q"); left != "runs data" {
		t.Errorf("left: %s", left)
	}
	e.Hoy("rm", "-f", "runs")
}
