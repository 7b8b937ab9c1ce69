package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"hoy/lib/buildlog"
)

// Build shows a build while it goes on:
//
//	b, err := progress.NewBuild(os.Stderr, progress.Options{Mode: "auto", …})
//	err = client.Build(ctx, options, b.Show)
//	b.Close()
//
// Close leaves behind what a person has to know: warnings, and of a build that failed the
// last output of the step and the lines of the Dockerfile. It may be used by several
// goroutines.
type Build struct {
	w               io.Writer
	verbose, asking bool

	mu    sync.Mutex
	steps steps
	view  view
}

// Options say how a build is shown.
type Options struct {
	// Mode is tty (steps that run, in place at the end of a terminal), plain (lines),
	// rawjson (BuildKit's own records, a line each) or quiet (nothing).
	Mode    string
	Verbose bool // warnings are explained
	Asking  bool // the Dockerfile is asked, so that warnings are the answer
	// Size is that of the terminal, 0 for what is not known.
	Size func() (rows, cols int)
	Now  func() time.Time
}

// view shows what changed: an event, and the step it is about.
type view interface {
	show(e *buildlog.Event, s *step) error
	close() error
}

// NewBuild returns a display on w. Its error is an unknown mode.
func NewBuild(w io.Writer, o Options) (*Build, error) {
	b := &Build{w: w, verbose: o.Verbose, asking: o.Asking, steps: steps{now: o.Now, began: o.Now()}}
	switch o.Mode {
	case "tty":
		b.view = &buildBoard{canvas: canvas{w: w, size: o.Size, now: o.Now}, steps: &b.steps}
	case "plain":
		b.view = &buildLines{w: w, steps: &b.steps, told: map[string]time.Time{}}
	case "rawjson":
		b.view = &buildJSON{out: json.NewEncoder(w), now: o.Now, began: map[int]time.Time{}}
	case "quiet":
		b.view = silent{}
	default:
		return nil, fmt.Errorf("invalid progress mode %q: it is one of auto, plain, tty, quiet, rawjson, none", o.Mode)
	}
	return b, nil
}

// silent shows nothing.
type silent struct{}

func (silent) show(*buildlog.Event, *step) error { return nil }
func (silent) close() error                      { return nil }

// Show takes an event in.
func (b *Build) Show(e *buildlog.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view.show(e, b.steps.take(e))
}

// Redraw shows what changes by time alone.
func (b *Build) Redraw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v := b.view.(type) {
	case *buildBoard:
		v.draw(v.lines())
	case *buildLines:
		v.tick(holding)
	}
}

// Close says how it ended.
func (b *Build) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.view.close()
	switch b.view.(type) {
	case *buildJSON:
		return err
	case silent:
	default:
		if !b.asking {
			_, e := io.WriteString(b.w, b.steps.warned(b.verbose))
			err = errors.Join(err, e)
		}
	}
	_, e := io.WriteString(b.w, b.steps.failed())
	return errors.Join(err, e)
}

// Warnings are those that were told.
func (b *Build) Warnings() []buildlog.Warning {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.steps.warnings
}

// warned sums the warnings up, "" if there are none.
func (s *steps) warned(verbose bool) string {
	if len(s.warnings) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n %d warning%s found", len(s.warnings), plural(len(s.warnings)))
	if !verbose {
		b.WriteString(" (use --debug to have them explained)")
	}
	b.WriteString(":\n")
	for i := range s.warnings {
		w := &s.warnings[i]
		fmt.Fprintf(&b, " - %s\n", WarningText(w))
		if !verbose {
			continue
		}
		for _, d := range w.Detail {
			b.WriteString(d + "\n")
		}
		if w.URL != "" {
			fmt.Fprintf(&b, "More info: %s\n", w.URL)
		}
		b.WriteString(placeText(w.Place) + "\n")
	}
	return b.String()
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// WarningText is a warning in one line, with its rule and where it is.
func WarningText(w *buildlog.Warning) string {
	text := w.Message
	if w.Rule != "" && !strings.HasPrefix(text, w.Rule+":") {
		text = w.Rule + ": " + text
	}
	if w.Place != nil && w.Place.Line > 0 && !strings.Contains(text, "(line ") {
		text += fmt.Sprintf(" (line %d)", w.Place.Line)
	}
	return text
}

// WarningDetails is a warning with its explanation and what it is about.
func WarningDetails(w *buildlog.Warning) string {
	var b strings.Builder
	fmt.Fprintf(&b, "WARNING: %s", w.Rule)
	if w.URL != "" {
		fmt.Fprintf(&b, " - %s", w.URL)
	}
	text := strings.TrimPrefix(w.Message, w.Rule+": ")
	fmt.Fprintf(&b, "\n%s\n", text)
	if len(w.Detail) > 0 {
		b.WriteString(strings.Join(w.Detail, "\n") + "\n")
	}
	b.WriteString(placeText(w.Place))
	return b.String()
}

// placeText quotes a Dockerfile.
func placeText(p *buildlog.Place) string {
	if p == nil || p.Excerpt == "" {
		return ""
	}
	return strings.Trim(p.Excerpt, "\n") + "\n"
}

// failed quotes what the failed step said last, and what made it, "" if none failed.
func (s *steps) failed() string {
	if s.failure == nil {
		return ""
	}
	var b strings.Builder
	if st := s.find(s.failure.Step); st != nil && s.failure.Step > 0 {
		fmt.Fprintf(&b, "------\n > %s:\n", st.name)
		for _, l := range st.log.last() {
			b.WriteString(l + "\n")
		}
		b.WriteString("------\n")
	}
	b.WriteString(placeText(s.failure.Place))
	return b.String()
}
