package progress

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoy/lib/buildlog"
)

var update = flag.Bool("update", false, "write the golden files")

// happens is a build: events, and how long each takes to come.
type happens struct {
	after time.Duration
	e     buildlog.Event
}

func began(n int, name string) buildlog.Event {
	return buildlog.Event{Step: &buildlog.Step{Number: n, Name: name, State: buildlog.Started}}
}

func ended(n int, name string, s buildlog.State, took time.Duration) buildlog.Event {
	return buildlog.Event{Step: &buildlog.Step{Number: n, Name: name, State: s, Duration: took}}
}

func wrote(n int, text string) buildlog.Event {
	return buildlog.Event{Log: &buildlog.Log{Step: n, Stream: 1, Data: []byte(text)}}
}

const ms = time.Millisecond

// aBuild has everything: a step from the cache, transfers, output in pieces, a warning.
func aBuild() []happens {
	return []happens{
		{0, began(1, "[internal] load build definition from Dockerfile")},
		{20 * ms, ended(1, "[internal] load build definition from Dockerfile", buildlog.Finished, 20*ms)},
		{0, buildlog.Event{Warning: &buildlog.Warning{Step: 1, Rule: "StageNameCasing", Message: "Stage name 'A' should be lowercase", Detail: []string{"Stage names should be lowercase"}, URL: "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/", Place: &buildlog.Place{File: "Dockerfile", Line: 1, Excerpt: "Dockerfile:1\n-----\n   1 | >>> FROM busybox AS A\n-----\n"}}}},
		{0, began(2, "[internal] load build context")},
		{0, buildlog.Event{Transfer: &buildlog.Transfer{Step: 2, Name: "transferring context", Current: 1}}},
		{300 * ms, buildlog.Event{Transfer: &buildlog.Transfer{Step: 2, Name: "transferring context", Current: 30_000_000, Total: 60_000_000}}},
		{300 * ms, buildlog.Event{Transfer: &buildlog.Transfer{Step: 2, Name: "transferring context", Current: 60_000_000, Total: 60_000_000, Done: true}}},
		{0, ended(2, "[internal] load build context", buildlog.Finished, 600*ms)},
		{0, ended(3, "[1/3] FROM docker.io/library/busybox", buildlog.Cached, 0)},
		{0, began(4, "[2/3] RUN make\nall")},
		{150 * ms, wrote(4, "gcc -c \x1b[31mmain.c\x1b[0m\n10%\r50%\r100%\r\n\tla")},
		{150 * ms, wrote(4, "st\nno end")},
		{150 * ms, ended(4, "[2/3] RUN make\nall", buildlog.Finished, 450*ms)},
	}
}

func okBuild() []happens {
	return append(aBuild(), happens{50 * ms, buildlog.Event{Result: &buildlog.Result{ImageID: "sha256:" + strings.Repeat("ab", 32)}}})
}

func failingBuild() []happens {
	l := append(aBuild(), happens{0, began(5, "[3/3] RUN false")}, happens{0, began(6, "[other 1/1] RUN sleep 100")})
	for i := range 12 {
		l = append(l, happens{10 * ms, wrote(5, fmt.Sprintf("line %d\n", i+1))})
	}
	failed := ended(5, "[3/3] RUN false", buildlog.Failed, 120*ms)
	failed.Step.Error = `process "/bin/sh -c false" did not complete successfully: exit code: 1`
	return append(l, happens{0, failed}, happens{0, ended(6, "[other 1/1] RUN sleep 100", buildlog.Canceled, 120*ms)},
		happens{0, buildlog.Event{Error: &buildlog.Error{Message: "failed to solve: " + failed.Step.Error, Step: 5, Code: 1, Place: &buildlog.Place{File: "Dockerfile", Line: 3, Excerpt: "Dockerfile:3\n-----\n   2 |     RUN make all\n   3 | >>> RUN false\n   4 |\n-----\n"}}}})
}

// play shows a build and returns what is on the screen in the end, and what was while it
// went on.
func play(t *testing.T, mode string, verbose bool, rows, cols int, l []happens) (text, meanwhile string) {
	t.Helper()
	clock := time.Unix(1e9, 0).UTC()
	s := &screen{t: t, rows: rows, cols: cols}
	var plain bytes.Buffer
	o := Options{Mode: mode, Verbose: verbose, Size: func() (int, int) { return rows, cols }, Now: func() time.Time { return clock }}
	b, err := NewBuild(&plain, o)
	if mode == "tty" {
		b, err = NewBuild(s, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range l {
		clock = clock.Add(h.after)
		if err := b.Show(&h.e); err != nil {
			t.Fatal(err)
		}
		if b.Redraw(); i == len(l)*2/3 {
			meanwhile = s.text()
		}
	}
	s.cols = 1000 // what is left behind at the end may wrap
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if mode == "tty" {
		return s.text(), meanwhile
	}
	return plain.String(), ""
}

// TestBuild holds what builds look like, in testdata/build.golden.
func TestBuild(t *testing.T) {
	var got strings.Builder
	for _, c := range []struct {
		title, mode string
		verbose     bool
		rows, cols  int
		build       []happens
	}{
		{"lines", "plain", false, 0, 0, okBuild()},
		{"lines of one that fails, with warnings explained", "plain", true, 0, 0, failingBuild()},
		{"a terminal", "tty", false, 24, 80, okBuild()},
		{"a terminal, one that fails", "tty", false, 24, 80, failingBuild()},
		{"a small terminal", "tty", false, 6, 40, failingBuild()},
		{"quiet", "quiet", false, 0, 0, failingBuild()},
		{"rawjson", "rawjson", false, 0, 0, okBuild()},
	} {
		text, meanwhile := play(t, c.mode, c.verbose, c.rows, c.cols, c.build)
		if meanwhile != "" {
			fmt.Fprintf(&got, "=== %s, meanwhile\n%s", c.title, meanwhile)
		}
		fmt.Fprintf(&got, "=== %s\n%s", c.title, text)
	}
	name := filepath.Join("testdata", "build.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs:\n%s", name, got.String())
	}
}

// TestAgain: a step that begins again and takes longer is told of again.
func TestAgain(t *testing.T) {
	text, _ := play(t, "tty", false, 24, 60, []happens{
		{0, ended(1, "FROM x", buildlog.Finished, 0)}, {0, began(1, "FROM x")}, {0, ended(1, "FROM x", buildlog.Finished, ms)},
		{0, began(1, "FROM x")}, {time.Second, ended(1, "FROM x", buildlog.Finished, time.Second)},
	})
	if n := strings.Count(text, "FROM x"); n != 2 {
		t.Errorf("told of %d times:\n%s", n, text)
	}
}

// TestClean: what programs do to a terminal is not done to ours.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                              "plain",
		"\x1b[1;31mred\x1b[0m":               "red",
		"\x1b]0;title\x07text":               "text",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;": "link",
		"a\tb":                               "a    b",
		"one\rtwo\r":                         "two",
		"\x1b[2J\x1b[H":                      "",
		"bell\a":                             "bell",
		"\x1b":                               "",
		"\x1b[":                              "",
		"\x1b]":                              "",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[1;31mred\x1b[0m \x1b]0;t\x07")
	f.Fuzz(func(t *testing.T, in string) {
		if got := clean(in); strings.ContainsAny(got, "\x1b\r\n\a") {
			t.Errorf("%q: %q", in, got)
		}
	})
}

// TestEndlessLine: output without lines takes no more memory than a line may.
func TestEndlessLine(t *testing.T) {
	var l logTail
	for range 1000 {
		l.add(bytes.Repeat([]byte{'.'}, 1000))
	}
	if len(l.part) > logLine+1000 || len(l.lines) > logLines {
		t.Errorf("%d bytes, %d lines", len(l.part), len(l.lines))
	}
}

func TestMode(t *testing.T) {
	if _, err := NewBuild(os.Stderr, Options{Mode: "loud", Now: time.Now}); err == nil {
		t.Error("an unknown mode is taken")
	}
}
