package progress

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode"

	"hoy/lib/buildlog"
)

// steps is what is known of a build.
type steps struct {
	now      func() time.Time
	began    time.Time
	list     []*step // in the order in which they were told of
	warnings []buildlog.Warning
	result   *buildlog.Result
	failure  *buildlog.Error
}

// step is one step of a build.
type step struct {
	number  int
	name    string
	state   buildlog.State
	began   time.Time     // this run of it
	took    time.Duration // all its runs, at their end
	named   bool          // its name was shown
	shown   time.Duration // the time that was shown for good with its end; -1: none was
	failure string
	log     logTail
	moves   []*move
}

// move is something that a step transfers.
type move struct {
	name           string
	current, total int64
	began          time.Time
	done           bool
	meter          meter
}

func (s *steps) find(number int) *step {
	if i := slices.IndexFunc(s.list, func(st *step) bool { return st.number == number }); i >= 0 {
		return s.list[i]
	}
	return nil
}

func (s *steps) get(number int) *step {
	if st := s.find(number); st != nil {
		return st
	}
	st := &step{number: number, shown: -1}
	s.list = append(s.list, st)
	return st
}

// take takes an event in and returns the step it is about, nil for none.
func (s *steps) take(e *buildlog.Event) *step {
	switch {
	case e.Step != nil:
		st := s.get(e.Step.Number)
		st.set(e.Step, s.now())
		return st
	case e.Transfer != nil:
		st := s.get(e.Transfer.Step)
		st.move(e.Transfer, s.now())
		return st
	case e.Log != nil:
		st := s.get(e.Log.Step)
		st.log.add(e.Log.Data)
		return st
	case e.Warning != nil:
		s.warnings = append(s.warnings, *e.Warning)
	case e.Result != nil:
		s.result = e.Result
	case e.Error != nil:
		s.failure = e.Error
	}
	return nil
}

func (st *step) set(e *buildlog.Step, now time.Time) {
	if e.State == buildlog.Started && st.state != buildlog.Started {
		st.began = now
	}
	st.name, st.state, st.failure = oneLine(e.Name), e.State, e.Error
	if e.State != buildlog.Started {
		st.took = e.Duration
		st.log.end()
	}
}

func (st *step) move(t *buildlog.Transfer, now time.Time) {
	i := slices.IndexFunc(st.moves, func(m *move) bool { return m.name == t.Name })
	if i < 0 {
		i = len(st.moves)
		st.moves = append(st.moves, &move{name: t.Name, began: now})
	}
	m := st.moves[i]
	m.current, m.total, m.done = t.Current, t.Total, t.Done
	m.meter.set(now, t.Current)
}

// running is how long a step has been at it.
func (st *step) running(now time.Time) time.Duration {
	if st.state == buildlog.Started {
		return now.Sub(st.began)
	}
	return st.took
}

// again is how much longer a step must have taken to be told of once more.
const again = 100 * time.Millisecond

// worthTelling reports whether the end of a step has to be shown. A step ends several
// times when later ones need more of it.
func (st *step) worthTelling() bool {
	if st.shown >= 0 && st.took-st.shown < again && st.state != buildlog.Failed {
		return false
	}
	st.shown = st.took
	return true
}

// logLines and logLine bound what is kept of a step's output.
const logLines, logLine = 10, 16 << 10

// logTail is the end of a step's output, in lines.
type logTail struct {
	lines []string // the last ones
	fresh []string // those that came by the last add
	part  []byte   // of a line that has not ended
}

// add takes output in; fresh are the lines that it ends.
func (t *logTail) add(data []byte) {
	t.fresh = t.fresh[:0]
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		t.part = append(t.part, line...)
		if whole || len(t.part) > logLine {
			t.put()
		}
	}
}

// end makes a line of what has not ended.
func (t *logTail) end() {
	t.fresh = t.fresh[:0]
	if len(t.part) > 0 {
		t.put()
	}
}

func (t *logTail) put() {
	line := clean(string(t.part))
	t.part = t.part[:0]
	t.fresh = append(t.fresh, line)
	t.lines = append(t.lines, line)
	if n := len(t.lines); n > logLines {
		t.lines = slices.Delete(t.lines, 0, n-logLines)
	}
}

// last are the last lines, with one that has not ended.
func (t *logTail) last() []string {
	if len(t.part) == 0 {
		return t.lines
	}
	return append(slices.Clone(t.lines), clean(string(t.part)))
}

// clean makes a line of output fit to be shown: what a program does to a terminal is not
// done to ours, and of what it writes over itself the last is left.
func clean(line string) string {
	line = strings.TrimRight(line, "\r")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	if !strings.ContainsFunc(line, unicode.IsControl) {
		return line
	}
	var b strings.Builder
	for line != "" {
		i := strings.IndexByte(line, 0x1b)
		if i < 0 {
			i = len(line)
		}
		for _, r := range line[:i] {
			switch {
			case r == '\t':
				b.WriteString("    ")
			case !unicode.IsControl(r):
				b.WriteRune(r)
			}
		}
		line = afterEscape(line[i:])
	}
	return b.String()
}

// afterEscape leaves out the control sequence that a text begins with.
func afterEscape(text string) string {
	switch {
	case len(text) < 2:
		return ""
	case text[1] == ']': // to the bell or ESC \
		if i := strings.IndexAny(text[2:], "\a\x1b"); i >= 0 {
			return strings.TrimPrefix(text[2+i:], "\a")
		}
		return ""
	case text[1] != '[':
		return text[2:]
	}
	i := strings.IndexFunc(text[2:], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
	if i < 0 {
		return ""
	}
	return text[2+i+1:]
}

// oneLine puts a name that has several lines on one.
func oneLine(name string) string {
	return clean(strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '\n' || r == '\r' }), " "))
}
