// Package metrics counts and times what a program does, and writes it in the text
// format of Prometheus (version 0.0.4 of its exposition formats).
package metrics

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Set is the metrics of a program, written in the order in which they were made:
//
//	var s metrics.Set
//	events := s.Counter("engine_daemon_events_total", "The number of events logged")
//	actions := s.Timer("engine_daemon_container_actions_seconds", "…", "action", "start")
//	events.Add(1)
//	defer actions.Time("start")()
//	s.WriteTo(w)
//
// All are made before the first is written; counting and writing go on at once.
type Set struct{ families []family }

// family is all values of one name.
type family struct {
	name, help, kind string
	write            func(w *writer)
}

func (s *Set) add(name, help, kind string, write func(w *writer)) {
	s.families = append(s.families, family{name, help, kind, write})
}

// WriteTo writes every metric.
func (s *Set) WriteTo(out io.Writer) (int64, error) {
	w := &writer{out: out}
	for _, f := range s.families {
		w.printf("# HELP %s %s\n# TYPE %s %s\n", f.name, escape(f.help, false), f.name, f.kind)
		w.name = f.name
		f.write(w)
	}
	return w.n, w.err
}

// Counter only grows.
type Counter struct{ n atomic.Uint64 }

// Add counts n more.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Counter makes a counter.
func (s *Set) Counter(name, help string) *Counter {
	c := new(Counter)
	s.add(name, help, "counter", func(w *writer) { w.value("", nil, float64(c.n.Load())) })
	return c
}

// CounterFunc makes a counter that somebody else counts.
func (s *Set) CounterFunc(name, help string, f func() float64) {
	s.add(name, help, "counter", func(w *writer) { w.value("", nil, f()) })
}

// Gauge makes a value that goes up and down.
func (s *Set) Gauge(name, help string, f func() float64) {
	s.add(name, help, "gauge", func(w *writer) { w.value("", nil, f()) })
}

// Gauges makes values that labels tell apart; f tells them each time.
func (s *Set) Gauges(name, help string, f func(tell func(v float64, labels ...Label))) {
	s.add(name, help, "gauge", func(w *writer) {
		f(func(v float64, labels ...Label) { w.value("", labels, v) })
	})
}

// Counters makes counters of somebody else's that labels tell apart.
func (s *Set) Counters(name, help string, f func(tell func(v float64, labels ...Label))) {
	s.add(name, help, "counter", func(w *writer) {
		f(func(v float64, labels ...Label) { w.value("", labels, v) })
	})
}

// Label is a name with a value.
type Label struct{ Name, Value string }

// Timer is a histogram of durations for each value of a label.
type Timer struct {
	label string
	mu    sync.Mutex
	order []string
	byKey map[string]*histogram
}

// bounds are the upper bounds in seconds of what is counted together; Prometheus'
// own defaults.
func bounds() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, math.Inf(1)}
}

type histogram struct {
	counts []uint64 // by bounds, not yet added up
	sum    float64
}

// Timer makes a timer; those values of the label that are named here are written also
// before they were timed.
func (s *Set) Timer(name, help, label string, values ...string) *Timer {
	t := &Timer{label: label, byKey: map[string]*histogram{}}
	for _, v := range values {
		t.get(v)
	}
	s.add(name, help, "histogram", t.write)
	return t
}

// get returns the histogram of a label's value; mu is held, or nobody else has t yet.
func (t *Timer) get(value string) *histogram {
	h := t.byKey[value]
	if h == nil {
		h = &histogram{counts: make([]uint64, len(bounds()))}
		t.byKey[value], t.order = h, append(t.order, value)
	}
	return h
}

// Time begins to time; what it returns ends it.
func (t *Timer) Time(value string) (end func()) {
	begin := time.Now()
	return func() { t.Observe(value, time.Since(begin)) }
}

// Observe counts one duration.
func (t *Timer) Observe(value string, d time.Duration) {
	seconds := d.Seconds()
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.get(value)
	h.sum += seconds
	for i, bound := range bounds() {
		if seconds <= bound {
			h.counts[i]++
			return
		}
	}
}

func (t *Timer) write(w *writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, value := range t.order {
		h, labels := t.byKey[value], []Label{{t.label, value}}
		var n uint64
		for i, bound := range bounds() {
			n += h.counts[i]
			w.value("_bucket", append(labels, Label{"le", number(bound)}), float64(n))
		}
		w.value("_sum", labels, h.sum)
		w.value("_count", labels, float64(n))
	}
}

// writer keeps the first error and how much was written.
type writer struct {
	out  io.Writer
	name string // of the family
	n    int64
	err  error
}

func (w *writer) printf(format string, args ...any) {
	if w.err != nil {
		return
	}
	n, err := fmt.Fprintf(w.out, format, args...)
	w.n, w.err = w.n+int64(n), err
}

func (w *writer) value(suffix string, labels []Label, v float64) {
	var text []string
	for _, l := range labels {
		text = append(text, l.Name+`="`+escape(l.Value, true)+`"`)
	}
	in := ""
	if len(text) > 0 {
		in = "{" + strings.Join(text, ",") + "}"
	}
	w.printf("%s%s%s %s\n", w.name, suffix, in, number(v))
}

func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// escape keeps a text on its line; a label's value also within its quotes.
func escape(s string, quoted bool) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "\n", `\n`)
	if quoted {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}
