package build

import (
	"encoding/json"
	"errors"
	"regexp"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	solver "github.com/moby/buildkit/solver/errdefs"

	"hoy/lib/buildfiles"
	"hoy/lib/buildlog"
)

// Teller makes a buildlog of BuildKit's trace:
//
//	t := NewTeller(say)
//	r.Trace = t.Status
//	res, err := b.Build(ctx, r)
//	t.End(res, err)
type Teller struct {
	mu    sync.Mutex
	say   func(buildlog.Event)
	steps map[string]*toldStep // by digest
}

type toldStep struct {
	number int
	name   string
	state  buildlog.State
	since  time.Time
	took   time.Duration
}

// NewTeller returns one that calls say with each event, one at a time.
func NewTeller(say func(buildlog.Event)) *Teller {
	return &Teller{say: say, steps: map[string]*toldStep{}}
}

// Want asks the client for files.
func (t *Teller) Want(w []buildfiles.Want) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.say(buildlog.Event{Wants: w})
	return nil
}

// Status is told what goes on.
func (t *Teller) Status(s *control.StatusResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range s.Vertexes {
		if v.Completed == nil {
			t.vertex(v)
		}
	}
	// A step ends after what is told of it.
	defer func() {
		for _, v := range s.Vertexes {
			if v.Completed != nil {
				t.vertex(v)
			}
		}
	}()
	for _, p := range s.Statuses {
		t.say(buildlog.Event{Transfer: &buildlog.Transfer{Step: t.number(p.Vertex), Name: p.ID, Current: p.Current, Total: p.Total, Done: p.Completed != nil}})
	}
	for _, l := range s.Logs {
		t.say(buildlog.Event{Log: &buildlog.Log{Step: t.number(l.Vertex), Stream: int(l.Stream), Data: l.Msg}})
	}
	for _, w := range s.Warnings {
		t.say(buildlog.Event{Warning: t.warning(w)})
	}
}

// step is that of a digest, which has a number from now on.
func (t *Teller) step(digest string) *toldStep {
	s := t.steps[digest]
	if s == nil {
		s = &toldStep{number: len(t.steps) + 1}
		t.steps[digest] = s
	}
	return s
}

func (t *Teller) number(digest string) int {
	if digest == "" {
		return 0
	}
	return t.step(digest).number
}

func (t *Teller) vertex(v *control.Vertex) {
	if v.Started == nil && v.Completed == nil {
		return // only planned
	}
	s := t.step(v.Digest)
	s.name = v.Name
	if v.Completed == nil {
		if s.state == buildlog.Started {
			return
		}
		s.state, s.since = buildlog.Started, v.Started.AsTime()
		t.say(buildlog.Event{Step: &buildlog.Step{Number: s.number, Name: s.name, State: s.state}})
		return
	}
	began := s.state == buildlog.Started
	switch {
	case v.Error != "" && canceled(v.Error):
		s.state = buildlog.Canceled
	case v.Error != "":
		s.state = buildlog.Failed
	case v.Cached:
		s.state = buildlog.Cached
	default:
		s.state = buildlog.Finished
	}
	if v.Started != nil && !v.Cached {
		if !began {
			s.since = v.Started.AsTime()
		}
		s.took += v.Completed.AsTime().Sub(s.since)
	}
	told := &buildlog.Step{Number: s.number, Name: s.name, State: s.state, Duration: s.took}
	if s.state == buildlog.Failed {
		told.Error = v.Error
	}
	t.say(buildlog.Event{Step: told})
}

var cancelWords = regexp.MustCompile(`context canceled`)

func canceled(text string) bool { return cancelWords.MatchString(text) }

// rule takes the lint rule off a warning: "StageNameCasing: Stage name … (line 3)".
var rule = regexp.MustCompile(`^([A-Z][A-Za-z]+): (.*?)(?: \(line \d+\))?$`)

func (t *Teller) warning(w *control.VertexWarning) *buildlog.Warning {
	told := &buildlog.Warning{Step: t.number(w.Vertex), Message: string(w.Short), URL: w.Url}
	if m := rule.FindStringSubmatch(told.Message); m != nil {
		told.Rule, told.Message = m[1], m[2]
	}
	for _, d := range w.Detail {
		told.Detail = append(told.Detail, string(d))
	}
	if w.Info != nil {
		told.Place = sourcePlace(&solver.Source{Info: w.Info, Ranges: w.Ranges})
	}
	return told
}

// End tells how the build ended; nothing may be told afterwards.
func (t *Teller) End(res *Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.say(buildlog.Event{Error: t.failure(err)})
		return
	}
	told := &buildlog.Result{ImageID: res.ImageID}
	for k, v := range res.Attrs {
		switch k {
		case AttrText:
			told.Text = v
		case AttrJSON:
			told.Data = []byte(v)
		default:
			if told.Attrs == nil {
				told.Attrs = map[string]string{}
			}
			told.Attrs[k] = v
		}
	}
	for _, w := range lintWarnings(told.Data) {
		t.say(buildlog.Event{Warning: w})
	}
	t.say(buildlog.Event{Result: told})
}

func (t *Teller) failure(err error) *buildlog.Error {
	told := &buildlog.Error{Message: err.Error(), Code: ExitCode(err), Place: placeOf(err)}
	var v *solver.VertexError
	if errors.As(err, &v) {
		if s := t.steps[v.Digest]; s != nil {
			told.Step = s.number
		}
	}
	return told
}

// lintWarnings reads what a linter has found, if it is that.
func lintWarnings(answer []byte) []*buildlog.Warning {
	var found lint.LintResults
	if json.Unmarshal(answer, &found) != nil {
		return nil
	}
	var all []*buildlog.Warning
	for _, w := range found.Warnings {
		told := &buildlog.Warning{Rule: w.RuleName, Message: w.Detail, Detail: []string{w.Description}, URL: w.URL}
		if i := int(w.Location.SourceIndex); i >= 0 && i < len(found.Sources) {
			told.Place = sourcePlace(&solver.Source{Info: found.Sources[i], Ranges: w.Location.Ranges})
		}
		all = append(all, told)
	}
	return all
}

// Outputs has those of the list that write to a client do so by events. whole tells that
// their archives are complete.
func (t *Teller) Outputs(list []Output) (whole func()) {
	var written []int
	for i := range list {
		switch list[i].Type {
		case "tar", "oci", "docker", "local":
			list[i].W = chunks{t, i}
			written = append(written, i)
		}
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, i := range written {
			t.say(buildlog.Event{Chunk: &buildlog.Chunk{Output: i, Last: true}})
		}
	}
}

// chunks writes the archive of an output.
type chunks struct {
	t      *Teller
	output int
}

func (c chunks) Write(p []byte) (int, error) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.say(buildlog.Event{Chunk: &buildlog.Chunk{Output: c.output, Data: p}})
	return len(p), nil
}
