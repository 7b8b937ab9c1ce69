package engine

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/diskuse"
	"hoy/test/rootful"
)

// TestDiskUsage: the report counts what was made, and a prune takes what nothing uses.
func TestDiskUsage(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "runs", "-v", "data:/data", "busybox", "sh", "-c", "head -c 1000000 /dev/zero >/data/f; head -c 3000000 /dev/zero >/g; : >/written; sleep 1000")
	e.Hoy("run", "--name", "ended", "-v", "/anonymous", "busybox", "sh", "-c", "head -c 2000000 /dev/zero >/f; head -c 500000 /dev/zero >/anonymous/f")
	e.Hoy("tag", "busybox", "second:1")
	e.Eventually("the files", func() bool { return e.Try("exec", "runs", "test", "-e", "/written").Code == 0 })
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
	if left := e.Hoy("ps", "-a", "--format", "{{.Names}}") + " " + e.Hoy("volume", "ls", "-q"); left != "runs data" {
		t.Errorf("left: %s", left)
	}
	e.Hoy("rm", "-f", "runs")
}

// TestDiskAccount: what hoy accounts for, line by line, is what du counts, and the line
// of files that it does not know is empty.
func TestDiskAccount(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "runs", "-v", "data:/data", "busybox", "sh", "-c",
		"head -c 9000000 /dev/zero >/data/f; ln /data/f /data/g; truncate -s 1g /data/sparse; mkdir /d; for i in $(seq 300); do echo $i >/d/$i; done; head -c 70000 /dev/zero; echo; echo done; sleep 1000")
	e.Hoy("run", "--name", "ended", "-v", "/anonymous", "busybox", "sh", "-c", "head -c 2000000 /dev/urandom >/f; echo said")
	e.Hoy("commit", "ended", "derived")
	e.Hoy("tag", "derived", "second:1")
	e.Hoy("volume", "create", "unused")
	e.Eventually("the files", func() bool { return strings.Contains(e.Hoy("logs", "runs"), "done") })
	whole := func() (r diskuse.Report) {
		code, body := e.get("/hoy/disk")
		if err := json.Unmarshal([]byte(body), &r); err != nil || code != 200 {
			t.Fatalf("%d %s: %v", code, body, err)
		}
		return r
	}
	var r diskuse.Report
	e.Eventually("nothing on its way out", func() bool {
		r = whole()
		return lineOf(r, diskuse.Unowned).Size == 0
	})
	out, err := exec.Command("du", "-sxB1", e.Dir+"/data").Output()
	if err != nil {
		t.Fatal(err)
	}
	du, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if off := r.Size - du; off > du/50 || off < -du/50 {
		t.Errorf("hoy accounts for %d bytes, du for %d", r.Size, du)
	}
	sum := int64(0)
	for _, l := range r.Lines {
		sum += l.Size
		if l.Reclaimable > l.Size || l.Reclaimable > 0 && l.Remedy == "" {
			t.Errorf("line %+v", l)
		}
	}
	if sum != r.Size || lineOf(r, diskuse.OtherFiles).Size > 0 {
		t.Errorf("the lines sum up to %d of %d: %+v", sum, r.Size, r.Lines)
	}
	for kind, want := range map[diskuse.Kind]struct{ least, most, reclaimable int64 }{
		diskuse.Writable: {2_000_000 + 300*4096, 5_000_000, 2_000_000},
		diskuse.Volumes:  {9_000_000, 9_100_000, 4096},
		diskuse.Logs:     {70_000, 600_000, 4096},
		diskuse.Layers:   {3_000_000, 12_000_000, 2_000_000}, // derived has no container
		diskuse.Blobs:    {1_000_000, 12_000_000, 1},
	} {
		if l := lineOf(r, kind); l.Size < want.least || l.Size > want.most || l.Reclaimable < want.reclaimable {
			t.Errorf("%+v, want %+v", l, want)
		}
	}
	tables := e.Hoy("system", "df", "-v")
	for _, want := range []string{"Everything below " + e.Dir + "/data", "Container layers", "container prune", "Total", "Free on the file system"} {
		if !strings.Contains(tables, want) {
			t.Errorf("tables lack %q:\n%s", want, tables)
		}
	}
	e.Hoy("rm", "-f", "runs", "ended")
}

func lineOf(r diskuse.Report, k diskuse.Kind) diskuse.Line {
	i := slices.IndexFunc(r.Lines, func(l diskuse.Line) bool { return l.Kind == k })
	if i < 0 {
		return diskuse.Line{}
	}
	return r.Lines[i]
}

// TestDiskBudget: with a budget images go that nothing uses, those used longest ago
// first, with an event and a line in the log; a reload sets another one.
func TestDiskBudget(t *testing.T) {
	rootful.Check(t)
	config := filepath.Join(t.TempDir(), "daemon.json")
	write(t, config, `{}`)
	e := Start(t, "--config-file", config)
	e.ImportBusybox()
	e.Hoy("run", "--name", "kept", "busybox", "true")
	for _, name := range []string{"a", "b", "c", "d"} {
		r := rand.NewChaCha8([32]byte{name[0]})
		content := make([]byte, 2_000_000)
		r.Read(content)
		if r := e.TryIn(bytes.NewReader(tarOf(t, map[string]string{"f": string(content)})), "import", "-", name+":1"); r.Code != 0 {
			t.Fatal(r.Stderr)
		}
	}
	e.Hoy("create", "--name", "of-a", "a:1", "/f")
	e.Hoy("rm", "of-a")
	images := func() string {
		l := strings.Fields(e.Hoy("images", "--format", "{{.Repository}}"))
		slices.Sort(l)
		return strings.Join(l, " ")
	}
	if got := images(); got != "a b busybox c d" {
		t.Fatalf("images: %s", got)
	}
	write(t, config, `{"disk-budget": "15m"}`) // an image takes 4 MB, busybox 3 to 5
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the rest to fit", func() bool {
		l := images()
		return l == "a busybox d" || l == "a busybox c d"
	})
	if log := e.Log(); !strings.Contains(log, "to keep to the disk budget") || !strings.Contains(log, "[b:1]") {
		t.Errorf("the log lacks the removal:\n%s", log)
	}
	if ev := e.Hoy("events", "--since", "1", "--until", "0s", "--filter", "type=image", "--filter", "event=untag", "--format", "{{.Actor.ID}}"); !strings.Contains(ev, "b:1") {
		t.Errorf("events: %s", ev)
	}
	if tables := e.Hoy("system", "df", "-v"); !strings.Contains(tables, "Budget for images: 15.73MB") {
		t.Errorf("df: %s", tables)
	}
	// What containers use stays, however small the budget is; so does the last one.
	write(t, config, `{"disk-budget": "1"}`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("what nothing uses to go", func() bool { return images() == "a busybox" || images() == "busybox" })
	if r := e.Try("start", "-a", "kept"); r.Code != 0 {
		t.Errorf("the container whose image is kept: %+v", r)
	}
	if r := exec.Command(Bin(t, "hoyd"), "serve", "--validate", "--disk-budget", "much"); r.Run() == nil {
		t.Error("a budget that is no size is accepted")
	}
	e.Hoy("rm", "kept")
}
