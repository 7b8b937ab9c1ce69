package engine

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"hoy/test/rootful"
)

func (e *Engine) stats(name, query string, samples int) []container.StatsResponse {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), wait)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://hoy/v1.50/containers/"+name+"/stats"+query, nil)
	resp, err := e.HTTP().Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	var l []container.StatsResponse
	for d := json.NewDecoder(resp.Body); len(l) < samples; {
		var s container.StatsResponse
		if err := d.Decode(&s); err != nil {
			e.t.Fatalf("%d samples, then %v", len(l), err)
		}
		l = append(l, s)
	}
	return l
}

// TestStats has the kernel's own numbers: of a paused container they stay as they are.
func TestStats(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name=con", "--memory=64m", "--pids-limit=20", "--cpus=0.2", "busybox", "sh", "-c", "yes >/dev/null & wait")
	one := e.stats("con", "?stream=0", 1)[0]
	if one.PreRead.IsZero() || one.PreCPUStats.SystemUsage == 0 || one.CPUStats.CPUUsage.TotalUsage <= one.PreCPUStats.CPUUsage.TotalUsage {
		t.Errorf("one result has two samples: %+v", one)
	}
	stream := e.stats("con", "", 3)
	if !stream[0].PreRead.IsZero() || stream[1].PreRead != stream[0].Read || stream[2].PreCPUStats.CPUUsage.TotalUsage != stream[1].CPUStats.CPUUsage.TotalUsage {
		t.Errorf("a stream: %+v", stream)
	}
	e.Hoy("pause", "con")
	s := e.stats("con", "?stream=0&one-shot=1", 1)[0]
	kernel := func(controller, v1, v2 string) uint64 {
		n, err := strconv.ParseUint(e.kernel("con", controller, v1, v2), 10, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for what, pair := range map[string][2]uint64{
		"memory limit": {s.MemoryStats.Limit, 64 << 20},
		"processes":    {s.PidsStats.Current, kernel("pids", "pids.current", "pids.current")},
		"pids limit":   {s.PidsStats.Limit, 20},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d, the kernel has %d", what, pair[0], pair[1])
		}
	}
	// The kernel gives memory back that it has counted in advance, also now.
	e.Eventually("memory as the kernel counts it", func() bool {
		before := kernel("memory", "memory.usage_in_bytes", "memory.current")
		s := e.stats("con", "?stream=0&one-shot=1", 1)[0]
		return s.MemoryStats.Usage == before
	})
	if !strings.HasPrefix(e.Hoy("inspect", "-f", "{{.Id}}", "con"), s.ID) || s.Name != "/con" || !s.PreRead.IsZero() || s.CPUStats.OnlineCPUs == 0 {
		t.Errorf("%+v", s)
	}
	if out := e.Hoy("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}"); !strings.HasPrefix(out, "con 2 ") || !strings.HasSuffix(out, " / 64MiB") {
		t.Errorf("hoy stats: %s", out)
	}
	if out := strings.Fields(e.Hoy("top", "con", "-o", "comm,pid")); len(out) != 6 || out[0] != "COMMAND" || out[2] != "sh" || out[4] != "yes" {
		t.Errorf("hoy top: %s", out)
	}
	e.Hoy("stop", "-t", "0", "con")
	if s := e.stats("con", "", 1)[0]; !s.Read.IsZero() || s.Name != "/con" || s.MemoryStats.Usage != 0 {
		t.Errorf("of one that does not run: %+v", s)
	}
	if r := e.Try("top", "con"); r.Code != 1 || !strings.Contains(r.Stderr, "is not running") {
		t.Errorf("top of one that does not run: %+v", r)
	}
}
