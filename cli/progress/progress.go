// Package progress shows people how far the engine is with moving images: a bar for each
// layer on a terminal, a line for each change elsewhere.
package progress

import (
	"fmt"
	"io"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// Display shows the messages of one operation. Close leaves behind how it ended.
type Display interface {
	Show(jsonstream.Message) error
	Close() error
}

// Lines prints a line for each change of a state, as docker does where nobody watches;
// what grows would be too many lines.
func Lines(w io.Writer) Display { return &lines{w, map[string]string{}} }

type lines struct {
	w    io.Writer
	last map[string]string // status by id
}

func (l *lines) Show(m jsonstream.Message) (err error) {
	switch {
	case m.Stream != "":
		_, err = io.WriteString(l.w, m.Stream)
	case m.Status == "" || measured(m.Progress):
	case m.ID == "":
		_, err = fmt.Fprintln(l.w, m.Status)
	case l.last[m.ID] != m.Status:
		l.last[m.ID] = m.Status
		_, err = fmt.Fprintf(l.w, "%s: %s\n", m.ID, m.Status)
	}
	return err
}

func (l *lines) Close() error { return nil }

// measured reports whether a message says how far something is.
func measured(p *jsonstream.Progress) bool { return p != nil && (p.Current > 0 || p.Total > 0) }

// meter measures how quickly a number grows: over the last seconds, as the beginning of
// a transfer says little about its end.
type meter struct {
	samples []sample
}

type sample struct {
	at time.Time
	n  int64
}

const (
	window   = 4 * time.Second
	sampling = 100 * time.Millisecond
)

// set says what the number is now. One that shrinks is another's, counted from the start.
func (m *meter) set(at time.Time, n int64) {
	if k := len(m.samples); k > 0 && n < m.samples[k-1].n {
		m.samples = m.samples[:0]
	}
	for len(m.samples) > 1 && at.Sub(m.samples[1].at) > window {
		m.samples = m.samples[1:]
	}
	if k := len(m.samples); k > 1 && at.Sub(m.samples[k-2].at) < sampling {
		m.samples[k-1] = sample{at, n}
		return
	}
	m.samples = append(m.samples, sample{at, n})
}

// rate is the growth per second, 0 while there is too little to tell.
func (m *meter) rate(at time.Time) float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	took := at.Sub(first.at)
	if took < sampling {
		return 0
	}
	return float64(last.n-first.n) / took.Seconds()
}
