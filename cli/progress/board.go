package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/jsonstream"
)

// Board shows a row for each layer and one for all, in place at the end of a terminal:
//
//	latest: Pulling from library/debian
//	a1b2c3d4e5f6: Downloading  [=====>        ]  12.1MB/45.6MB    10.2MB/s   3s
//	b1b2c3d4e5f6: Pull complete
//	Total: 1 of 2 done         [========>     ]  30.2MB/63.8MB    10.2MB/s   3s
//
// What belongs to no layer goes above; when all layers are done the rows stay as they
// are, and new ones begin below. Redraw draws it again, as rates fall when nothing comes
// and windows change their size. It may be used by several goroutines.
type Board struct {
	mu sync.Mutex
	canvas
	rows  []*row
	moved transfer
}

// NewBoard returns a board on a terminal of this size, 0 for one that is not known.
func NewBoard(w io.Writer, size func() (rows, cols int), now func() time.Time) *Board {
	return &Board{canvas: canvas{w: w, size: size, now: now}}
}

// Show takes a message in.
func (b *Board) Show(m jsonstream.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case m.Stream != "":
		b.above(strings.TrimSuffix(m.Stream, "\n"))
	case m.Status == "":
	case m.ID == "":
		b.above(m.Status)
	default:
		b.row(m.ID).set(b.now(), m)
		b.moved.count(b.now(), b.rows)
		if b.now().Sub(b.drawn) >= often {
			b.draw(b.lines())
		}
	}
	return b.err
}

// Redraw draws the board as it is now.
func (b *Board) Redraw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw(b.lines())
}

// Close leaves the last state of each layer, and what was moved altogether.
func (b *Board) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	if s := b.moved.summary(b.now()); s != "" && b.err == nil {
		_, cols := b.window()
		_, b.err = fmt.Fprintln(b.w, cut(s, cols))
	}
	return b.err
}

func (b *Board) row(id string) *row {
	if i := slices.IndexFunc(b.rows, func(r *row) bool { return r.id == id }); i >= 0 {
		return b.rows[i]
	}
	r := &row{id: id}
	b.rows = append(b.rows, r)
	return r
}

// above prints a line that stays.
func (b *Board) above(text string) {
	if !slices.ContainsFunc(b.rows, (*row).goesOn) {
		b.settle()
	}
	b.draw(nil)
	if b.err == nil {
		_, b.err = fmt.Fprintln(b.w, text)
	}
	b.draw(b.lines())
}

// settle makes the rows lines that stay, and begins anew.
func (b *Board) settle() {
	_, cols := b.window()
	var l []string
	for _, r := range b.rows {
		l = append(l, cut(r.text(), cols))
	}
	b.moved.settle(b.rows)
	b.rows = nil
	b.draw(l)
	b.shown = nil
}

// lines are what is to be seen: of more rows than there is room for those that move, then
// those that wait, then the last that are done.
func (b *Board) lines() (l []string) {
	height, cols := b.window()
	if len(b.rows) == 0 {
		return nil
	}
	total := b.moved.line(b.now(), b.rows, cols)
	if total != "" {
		height--
	}
	seen := map[*row]bool{}
	for _, state := range []func(*row) bool{(*row).title, (*row).moving, (*row).busy} {
		for _, r := range b.rows {
			if len(seen) < height && state(r) {
				seen[r] = true
			}
		}
	}
	for _, r := range slices.Backward(b.rows) {
		if len(seen) < height {
			seen[r] = true
		}
	}
	for _, r := range b.rows {
		if seen[r] {
			l = append(l, r.line(b.now(), cols))
		}
	}
	if total != "" {
		l = append(l, total)
	}
	return l
}

// transfer is what goes over the wire, of all rows.
type transfer struct {
	began   time.Time
	meter   meter
	settled int64 // of rows that are gone
	up      bool
}

func (t *transfer) count(now time.Time, rows []*row) {
	n, _, _ := t.sum(rows)
	if n == 0 {
		return
	}
	if t.began.IsZero() {
		t.began = now
	}
	t.meter.set(now, n)
	t.up = t.up || slices.ContainsFunc(rows, func(r *row) bool { return r.up })
}

func (t *transfer) sum(rows []*row) (current, total int64, more bool) {
	current, total = t.settled, t.settled
	for _, r := range rows {
		current, total = current+r.moved, total+r.size
		more = more || r.size == 0 && r.layer && r.busy()
	}
	return current, total, more
}

func (t *transfer) settle(rows []*row) { t.settled, _, _ = t.sum(rows) }

// line is the row for all, "" where one row says it.
func (t *transfer) line(now time.Time, rows []*row, cols int) string {
	layers, done := 0, 0
	for _, r := range rows {
		if r.layer {
			layers++
			if !r.busy() {
				done++
			}
		}
	}
	if layers < 2 {
		return ""
	}
	text := fmt.Sprintf("%-25s", fmt.Sprintf("Total: %d of %d done", done, layers))
	m := &measure{rate: t.meter.rate(now)}
	if m.current, m.total, m.more = t.sum(rows); m.total == 0 {
		m = nil
	}
	return line(text, m, cols)
}

// summary is said at the end, "" where nothing was moved.
func (t *transfer) summary(now time.Time) string {
	if t.settled == 0 || t.began.IsZero() {
		return ""
	}
	verb, took := "Downloaded", now.Sub(t.began)
	if t.up {
		verb = "Uploaded"
	}
	s := fmt.Sprintf("%s %s in %s", verb, units.HumanSizeWithPrecision(float64(t.settled), 4), took.Round(10*time.Millisecond))
	if took >= sampling {
		s += fmt.Sprintf(" (%s/s)", units.HumanSizeWithPrecision(float64(t.settled)/took.Seconds(), 3))
	}
	return s
}
