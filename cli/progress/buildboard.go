package progress

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"hoy/lib/buildlog"
)

// buildBoard shows a build at the end of a terminal. A step that has ended becomes a line
// that stays; below are those that run, with what they transfer and said last:
//
//	#4 [1/4] FROM docker.io/library/debian:13                                  CACHED
//	#5 [2/4] COPY . .                                                            0.1s
//	#6 [3/4] RUN make                                                           12.3s
//	   | gcc -c main.c
//	   | gcc -c parse.c
//	Building for 14.2s, 5 steps done
type buildBoard struct {
	canvas
	steps *steps
}

// boardLog is how many lines of output a step that runs has, at most.
const boardLog = 6

func (b *buildBoard) show(e *buildlog.Event, s *step) error {
	switch {
	case e.Step != nil && s.state != buildlog.Started:
		if s.worthTelling() {
			b.keep(s)
		}
	case b.now().Sub(b.drawn) < often:
	default:
		b.draw(b.lines())
	}
	return b.err
}

// keep makes a line that stays of a step that has ended.
func (b *buildBoard) keep(s *step) {
	_, cols := b.window()
	b.draw(nil)
	if b.err == nil {
		_, b.err = fmt.Fprintln(b.w, b.title(s, cols))
	}
	b.draw(b.lines())
}

// title is a step in a line: its number, its name, and how long it took at the right.
func (b *buildBoard) title(s *step, cols int) string {
	end := seconds(s.running(b.now()))
	switch s.state {
	case buildlog.Cached:
		end = "CACHED"
	case buildlog.Failed:
		end = "FAILED " + end
	case buildlog.Canceled:
		end = "CANCELED"
	}
	text := fmt.Sprintf("#%d %s", s.number, s.name)
	room := cols - len(end) - 1
	if room < 10 {
		return cut(text, cols)
	}
	text = cut(text, room)
	return text + strings.Repeat(" ", room-utf8.RuneCountInString(text)+1) + end
}

// lines are the steps that run. Where there is little room each has its line first, then
// what it transfers, then what it says.
func (b *buildBoard) lines() (l []string) {
	rows, cols := b.window()
	var run []*step
	done := 0
	for _, s := range b.steps.list {
		switch s.state {
		case buildlog.Started:
			run = append(run, s)
		case "": // told of by its output only
		default:
			done++
		}
	}
	if len(run) > rows-1 {
		run = run[len(run)-max(rows-1, 0):]
	}
	room := rows - 1 - len(run)
	for i, s := range run {
		l = append(l, b.title(s, cols))
		more := b.details(s, room/(len(run)-i), cols)
		room -= len(more)
		l = append(l, more...)
	}
	return append(l, cut(fmt.Sprintf("Building for %s, %d step%s done", seconds(b.now().Sub(b.steps.began)), done, plural(done)), cols))
}

// details are what a step transfers and says, in so many rows.
func (b *buildBoard) details(s *step, rows, cols int) (l []string) {
	for _, m := range s.moves {
		if len(l) < rows && !m.done && m.current > 0 {
			l = append(l, line(cut("   "+oneLine(m.name), 40), &measure{current: m.current, total: m.total, rate: m.meter.rate(b.now())}, cols))
		}
	}
	last := s.log.last()
	if n := min(boardLog, max(rows-len(l), 0)); len(last) > n {
		last = last[len(last)-n:]
	}
	for _, text := range last {
		l = append(l, cut("   | "+text, cols))
	}
	return l
}

// close leaves the steps that did not end, and says how long it took.
func (b *buildBoard) close() error {
	_, cols := b.window()
	b.draw(nil)
	for _, s := range b.steps.list {
		if s.state == buildlog.Started && b.err == nil {
			_, b.err = fmt.Fprintln(b.w, b.title(s, cols))
		}
	}
	if text := b.ended(); text != "" && b.err == nil {
		_, b.err = io.WriteString(b.w, cut(text, cols)+"\n")
	}
	b.shown = nil
	return b.err
}

// ended sums up a build that succeeded.
func (b *buildBoard) ended() string {
	r := b.steps.result
	if r == nil || r.Text != "" || r.Data != nil {
		return ""
	}
	cached := 0
	for _, s := range b.steps.list {
		if s.state == buildlog.Cached {
			cached++
		}
	}
	what := "Built"
	if _, hex, ok := strings.Cut(r.ImageID, ":"); ok && len(hex) >= 12 {
		what += " " + hex[:12]
	}
	n := len(b.steps.list)
	return fmt.Sprintf("%s in %s: %d step%s, %d cached", what, seconds(b.now().Sub(b.steps.began)), n, plural(n), cached)
}
