package progress

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// screen is a terminal: it keeps what is to be seen, and what scrolled away above.
type screen struct {
	t          *testing.T
	rows, cols int
	lines      []string // those of the window last
	at, col    int      // the cursor
	writes     int
}

func (s *screen) Write(p []byte) (int, error) {
	s.writes++
	text := string(p)
	for text != "" {
		switch c := text[0]; {
		case c == '\r':
			s.col, text = 0, text[1:]
		case c == '\n':
			s.at, s.col, text = s.at+1, 0, text[1:]
		case c == 0x1b:
			n := 0
			var end byte
			if strings.HasPrefix(text, "\x1b[K") || strings.HasPrefix(text, "\x1b[J") {
				end, text = text[2], text[3:]
			} else if k, err := fmt.Sscanf(text, "\x1b[%d%c", &n, &end); k == 2 && err == nil {
				text = text[strings.IndexByte(text, end)+1:]
			}
			switch end {
			case 'A':
				if s.at -= n; s.at < max(len(s.lines)-s.rows, 0) {
					s.t.Errorf("the cursor goes above the window: by %d", n)
					s.at = 0
				}
			case 'K':
				s.lines[s.at] = s.lines[s.at][:s.col]
			case 'J':
				s.lines = s.lines[:s.at+1]
				s.lines[s.at] = ""
			default:
				s.t.Fatalf("unknown sequence %q", text)
			}
			continue
		default:
			s.reach()
			l := s.lines[s.at]
			l = l[:s.col] + string(c) + l[min(len(l), s.col+1):]
			s.lines[s.at] = l
			if s.col, text = s.col+1, text[1:]; s.col >= s.cols {
				s.t.Fatalf("a line fills the row or more: %q", l)
			}
		}
		s.reach()
	}
	return len(p), nil
}

func (s *screen) reach() {
	for len(s.lines) <= s.at {
		s.lines = append(s.lines, "")
	}
}

// narrow makes the window narrower: what is too long goes on in the next row.
func (s *screen) narrow(cols int) {
	var l []string
	for i, line := range s.lines {
		if i == s.at {
			s.at = len(l)
		}
		for len(line) > cols {
			l, line = append(l, line[:cols]), line[cols:]
		}
		l = append(l, line)
	}
	s.lines, s.cols = l, cols
}

func (s *screen) text() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// bench is a board on a screen, with a clock that is set by hand.
type bench struct {
	*screen
	*Board
	clock time.Time
}

func newBench(t *testing.T, rows, cols int) *bench {
	b := &bench{screen: &screen{t: t, rows: rows, cols: cols}, clock: time.Unix(1e9, 0)}
	b.Board = NewBoard(b.screen, func() (int, int) { return b.screen.rows, b.screen.cols }, func() time.Time { return b.clock })
	return b
}

func (b *bench) say(id, status string, n, total int64) {
	m := jsonstream.Message{ID: id, Status: status, Progress: &jsonstream.Progress{Current: n, Total: total}}
	if id == "" || strings.HasPrefix(status, "Pulling from") {
		m.Progress = nil
	}
	if err := b.Show(m); err != nil {
		b.t.Error(err)
	}
	b.clock = b.clock.Add(50 * time.Millisecond)
}

func (b *bench) want(when, text string) {
	b.t.Helper()
	if got := b.screen.text(); got != text {
		b.t.Errorf("%s:\n%s\nwant\n%s", when, got, text)
	}
}

func TestBoard(t *testing.T) {
	b := newBench(t, 24, 90)
	b.say("latest", "Pulling from library/x", 0, 0)
	for _, id := range []string{"aaaa", "bbbb", "cccc"} {
		b.say(id, "Pulling fs layer", 0, 0)
	}
	b.say("cccc", "Already exists", 0, 0)
	for i := range int64(41) {
		b.say("aaaa", "Downloading", i*500_000, 40_000_000)
	}
	b.Redraw()
	b.want("while one comes", `latest: Pulling from library/x
aaaa: Downloading  [================>                ]  20MB/40MB        9.76MB/s   2s
bbbb: Pulling fs layer
cccc: Already exists
Total: 1 of 3 done         [============>            ]  20MB/40MB+       9.75MB/s
`)
	b.clock = b.clock.Add(30 * time.Second)
	b.Redraw()
	if got := b.screen.text(); !strings.Contains(got, "kB/s") {
		t.Errorf("nothing comes, and the rate stays:\n%s", got)
	}
	b.say("aaaa", "Download complete", 0, 0)
	b.say("aaaa", "Extracting", 10_000_000, 40_000_000)
	b.say("bbbb", "Downloading", 500, 1000)
	b.say("bbbb", "Download complete", 0, 0)
	b.say("aaaa", "Pull complete", 0, 0)
	b.say("bbbb", "Pull complete", 0, 0)
	b.say("", "Digest: sha256:00", 0, 0)
	b.say("v2", "Pulling from library/x", 0, 0)
	b.say("aaaa", "Already exists", 0, 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.want("at the end", `latest: Pulling from library/x
aaaa: Pull complete
bbbb: Pull complete
cccc: Already exists
Digest: sha256:00
v2: Pulling from library/x
aaaa: Already exists
Downloaded 40MB in 32.45s (1.23MB/s)
`)
}

func TestBoardOfDocker(t *testing.T) {
	b := newBench(t, 24, 90)
	b.say("aaaa", "Downloading", 5, 10)
	b.say("", "a registry is slow", 0, 0)
	b.clock = b.clock.Add(time.Second)
	if err := b.Show(jsonstream.Message{ID: "aaaa", Status: "Extracting", Progress: &jsonstream.Progress{Current: 3, Units: "s"}}); err != nil {
		t.Fatal(err)
	}
	b.want("seconds, no bar", "a registry is slow\naaaa: Extracting   3 s\n")
	b.say("aaaa", "Pull complete", 0, 0)
	b.say("cfg", "Download complete", 0, 0)
	b.say("", "Digest: sha256:00", 0, 0)
	b.want("what is not unpacked is done", "a registry is slow\naaaa: Pull complete\ncfg: Download complete\nDigest: sha256:00\n")
}

func TestUpload(t *testing.T) {
	b := newBench(t, 24, 60)
	b.say("", "The push refers to repository [localhost:5000/x]", 0, 0)
	b.say("aaaa", "Preparing", 0, 0)
	b.say("aaaa", "Pushing", 1_000_000, 2_000_000)
	b.say("aaaa", "Pushing", 2_000_000, 2_000_000)
	b.say("aaaa", "Pushed", 0, 0)
	b.Close()
	b.want("at the end", "The push refers to repository [localhost:5000/x]\naaaa: Pushed\nUploaded 2MB in 150ms (13.3MB/s)\n")
}

// TestNarrow: what there is no room for is left out, the least important first.
func TestNarrow(t *testing.T) {
	m := &measure{current: 20 << 20, total: 40 << 20, rate: 1e6}
	for _, c := range []struct {
		cols int
		want string
	}{
		{200, "aaaa: Downloading  [====================>                   ]  20.97MB/41.94MB  1MB/s      21s"},
		{70, "aaaa: Downloading  [=======>      ]  20.97MB/41.94MB  1MB/s      21s"},
		{53, "aaaa: Downloading  [====>   ]  20.97MB/41.94MB  21s"},
		{45, "aaaa: Downloading  20.97MB/41.94MB  21s"},
		{35, "aaaa: Downloading  20.97MB/41.94MB"},
		{20, "aaaa: Downloading"},
		{9, "aaaa: Dow"},
	} {
		if got := line("aaaa: Downloading", m, c.cols); got != c.want {
			t.Errorf("%d columns: %q, want %q", c.cols, got, c.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 65 * time.Second: "1m05s", 2*time.Hour + 3*time.Minute: "2h03m", 1000 * time.Hour: ">100h"} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestManyLayers on windows of any size, which change: nothing but the board is drawn
// over, and at the end each layer has its line.
func TestManyLayers(t *testing.T) {
	for seed := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 0))
		b := newBench(t, 3+r.IntN(20), 30+r.IntN(80))
		b.say("", "a line above", 0, 0)
		n := 1 + r.IntN(60)
		at := make([]int64, n)
		for range n * 30 {
			i := r.IntN(n)
			id := fmt.Sprintf("layer%02d", i)
			switch at[i]++; {
			case at[i] < 3:
				b.say(id, "Waiting", 0, 0)
			case at[i] < 13:
				b.say(id, "Downloading", (at[i]-2)*1e6, 1e7)
			default:
				b.say(id, "Pull complete", 0, 0)
			}
			if seen := len(b.shown); seen > max(b.screen.rows-1, 1) {
				t.Fatalf("seed %d: %d lines in a window of %d", seed, seen, b.screen.rows)
			}
		}
		for i := range n {
			b.say(fmt.Sprintf("layer%02d", i), "Pull complete", 0, 0)
		}
		b.Close()
		l := strings.Split(b.screen.text(), "\n")
		if l[0] != "a line above" || len(l) < n+1 {
			t.Fatalf("seed %d: %q", seed, l)
		}
		for i, got := range l[1 : n+1] {
			if !strings.HasSuffix(got, ": Pull complete") {
				t.Fatalf("seed %d, line %d: %q", seed, i, got)
			}
		}
	}
}

// TestResize: a window that becomes narrower breaks the lines that are there.
func TestResize(t *testing.T) {
	b := newBench(t, 24, 100)
	b.say("", "a line above", 0, 0)
	for _, id := range []string{"aaaa", "bbbb"} {
		b.say(id, "Downloading", 1e6, 1e7)
	}
	b.Redraw()
	b.narrow(40)
	b.Redraw()
	b.say("aaaa", "Pull complete", 0, 0)
	b.say("bbbb", "Pull complete", 0, 0)
	b.Close()
	b.want("at the end", "a line above\naaaa: Pull complete\nbbbb: Pull complete\nDownloaded 20MB in 200ms (100MB/s)\n")
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

func TestNobodyReads(t *testing.T) {
	for _, d := range []Display{Lines(closed{}), NewBoard(closed{}, func() (int, int) { return 24, 80 }, time.Now)} {
		if err := d.Show(jsonstream.Message{ID: "aaaa", Status: "Waiting"}); err == nil {
			t.Errorf("%T: no error", d)
		}
	}
}

func TestLines(t *testing.T) {
	var b strings.Builder
	d := Lines(&b)
	for _, m := range []jsonstream.Message{
		{Stream: "Loaded image: x\n"}, {ID: "a", Status: "Waiting"}, {ID: "a", Status: "Waiting"}, {ID: "a", Status: "Downloading", Progress: &jsonstream.Progress{Current: 1, Total: 2}},
		{ID: "a", Status: "Pull complete", Progress: &jsonstream.Progress{}}, {Status: "Digest: d"}, {},
	} {
		if err := d.Show(m); err != nil {
			t.Fatal(err)
		}
	}
	if want := "Loaded image: x\na: Waiting\na: Pull complete\nDigest: d\n"; b.String() != want || d.Close() != nil {
		t.Errorf("%q", b.String())
	}
}
