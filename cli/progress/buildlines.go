package progress

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/go-units"

	"hoy/lib/buildlog"
)

// buildLines prints a line for each thing that happens, as docker does where nobody
// watches:
//
//	#5 [2/4] RUN make
//	#5 0.512 gcc -c main.c
//	#5 DONE 1.2s
//
// Steps go on side by side: the number says whose a line is. The line of an end is held
// back until another step is told of: the engine may have more to say of this one.
type buildLines struct {
	w     io.Writer
	steps *steps
	told  map[string]time.Time // transfers, when they were last told of
	held  *heldEnd
}

type heldEnd struct {
	*step
	at time.Time
}

// holding is how long the line of an end is held back.
const holding = 200 * time.Millisecond

// seldom is how often a transfer that goes on is told of.
const seldom = 5 * time.Second

func (l *buildLines) show(e *buildlog.Event, s *step) error {
	var b strings.Builder
	if l.held != nil && l.held.step != s {
		l.release(&b)
	}
	switch {
	case e.Step != nil:
		l.step(&b, s)
	case e.Log != nil:
		l.output(&b, s)
	case e.Transfer != nil:
		l.transfer(&b, s, e.Transfer)
	case e.Warning != nil && e.Warning.Step > 0:
		fmt.Fprintf(&b, "#%d WARN: %s\n", e.Warning.Step, WarningText(e.Warning))
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}

// tick prints what was held back for a while.
func (l *buildLines) tick(after time.Duration) error {
	var b strings.Builder
	if l.held != nil && l.steps.now().Sub(l.held.at) >= after {
		l.release(&b)
	}
	_, err := io.WriteString(l.w, b.String())
	return err
}

func (l *buildLines) step(b *strings.Builder, s *step) {
	l.held = nil // this step's
	if !s.named {
		s.named = true
		fmt.Fprintf(b, "#%d %s\n", s.number, s.name)
	}
	if s.state == buildlog.Started {
		return
	}
	l.output(b, s)
	l.held = &heldEnd{s, l.steps.now()}
}

// release prints the end that was held back.
func (l *buildLines) release(b *strings.Builder) {
	s := l.held.step
	if l.held = nil; !s.worthTelling() {
		return
	}
	switch s.state {
	case buildlog.Finished:
		fmt.Fprintf(b, "#%d DONE %s\n", s.number, seconds(s.took))
	case buildlog.Cached:
		fmt.Fprintf(b, "#%d CACHED\n", s.number)
	case buildlog.Canceled:
		fmt.Fprintf(b, "#%d CANCELED\n", s.number)
	case buildlog.Failed:
		fmt.Fprintf(b, "#%d ERROR: %s\n", s.number, s.failure)
	}
}

// output prints the lines that have come, with the time since the step began.
func (l *buildLines) output(b *strings.Builder, s *step) {
	at := l.steps.now().Sub(s.began)
	for _, line := range s.log.fresh {
		fmt.Fprintf(b, "#%d %.3f %s\n", s.number, max(at, 0).Seconds(), line)
	}
}

func (l *buildLines) transfer(b *strings.Builder, s *step, t *buildlog.Transfer) {
	key, now := fmt.Sprintf("%d %s", s.number, t.Name), l.steps.now()
	last, again := l.told[key]
	if !t.Done && (!again || now.Sub(last) < seldom) {
		if !again {
			l.told[key] = now
		}
		return
	}
	l.told[key] = now
	fmt.Fprintf(b, "#%d %s", s.number, oneLine(t.Name))
	size := func(n int64) string { return units.HumanSizeWithPrecision(float64(n), 4) }
	switch {
	case t.Total > 0:
		fmt.Fprintf(b, " %s / %s", size(t.Current), size(t.Total))
	case t.Current > 0:
		fmt.Fprintf(b, " %s", size(t.Current))
	}
	if t.Done {
		b.WriteString(" done")
	}
	b.WriteString("\n")
}

func (l *buildLines) close() error { return l.tick(0) }

// seconds is a time as one reads it: 0.1s, 12.3s, 1m05s.
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", max(d, 0).Seconds())
	}
	return duration(d)
}
