package build

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"
)

// classicTrace makes docker's words of BuildKit's trace. The builder says which
// instruction is on; what is told until it waits is of that one.
type classicTrace struct {
	say Classic

	mu      sync.Mutex
	kind    stepKind
	started map[string]bool // vertices that have begun, of the whole build
	ended   map[string]bool // and that have ended
	ran     int             // of this instruction: vertices that were run,
	hit     int             // and those whose result was there
	running []string        // containers that were told of
	noting  int             // triggers that only note something
	command string          // the last that began
	marker  string
	marked  chan struct{} // closed when marker is seen
}

// stepKind says when docker tells of a container for an instruction.
type stepKind int

const (
	runs   stepKind = iota // when it begins: RUN, triggers
	copies                 // never: COPY, ADD
	notes                  // when it is over: all that only note something, and WORKDIR
)

type answer int

const (
	unknown answer = iota
	yes
	no
)

func newClassicTrace(say Classic) *classicTrace {
	return &classicTrace{say: say, started: map[string]bool{}, ended: map[string]bool{}}
}

// step is the name of a vertex that is an instruction: "[stage 2/3] RUN make".
var step = regexp.MustCompile(`^\[(?:.* )?\d+/\d+\] (?s:(.*))$`)

// expect begins an instruction.
func (t *classicTrace) expect(cmd any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ran, t.hit, t.running, t.command = 0, 0, nil, ""
	switch cmd.(type) {
	case *instructions.RunCommand, *instructions.Stage:
		t.kind = runs
	case *instructions.CopyCommand, *instructions.AddCommand:
		t.kind = copies
	default:
		t.kind = notes
	}
}

// triggers says which instructions come with FROM.
func (t *classicTrace) triggers(list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noting = 0
	for _, text := range list {
		switch name, _, _ := strings.Cut(text, " "); strings.ToUpper(name) {
		case "RUN", "COPY", "ADD":
		default:
			t.noting++
		}
	}
}

// status is told what goes on.
func (t *classicTrace) status(s *control.StatusResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range s.Vertexes {
		if m := step.FindStringSubmatch(v.Name); m != nil && !strings.HasPrefix(m[1], "FROM ") {
			t.vertex(v, strings.TrimPrefix(m[1], "ONBUILD "))
		}
	}
	for _, l := range s.Logs {
		switch {
		case !t.started[l.Vertex]:
		case l.Stream == 2:
			t.say.Stderr(string(l.Msg))
		default:
			t.say.Stdout(string(l.Msg))
		}
	}
	for _, w := range s.Warnings {
		if t.marked != nil && string(w.Short) == t.marker {
			close(t.marked)
			t.marked = nil
		}
	}
}

func (t *classicTrace) vertex(v *control.Vertex, command string) {
	if v.Started != nil && !v.Cached && !t.started[v.Digest] && !t.ended[v.Digest] {
		t.started[v.Digest] = true
		t.command = command
		if t.kind == runs && strings.HasPrefix(command, "RUN ") {
			t.container()
		}
	}
	if v.Completed != nil && !t.ended[v.Digest] {
		t.ended[v.Digest] = true
		if v.Cached {
			t.hit++
		} else {
			t.ran++
		}
	}
}

// container tells of one. Its name is made up: BuildKit's containers have none.
func (t *classicTrace) container() {
	var id [6]byte
	rand.Read(id[:])
	name := hex.EncodeToString(id[:])
	t.running = append(t.running, name)
	t.say.Stdout(" ---> Running in " + name + "\n")
}

// wait returns when all that was told before is told: it sends a word of its own after
// it.
func (t *classicTrace) wait(ctx context.Context, k *call) {
	seen := make(chan struct{})
	t.mu.Lock()
	t.marker, t.marked = rand.Text(), seen
	word := t.marker
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if k.Warn(ctx, digest.FromString(word), word, frontend.WarnOpts{}) != nil {
		return
	}
	select {
	case <-seen:
	case <-ctx.Done():
	}
}

// cached says whether the instruction's result was there; unknown: nothing was solved
// for it.
func (t *classicTrace) cached() answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ran > 0:
		return no
	case t.hit > 0:
		return yes
	}
	return unknown
}

// done ends an instruction.
func (t *classicTrace) done(cached bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kind == notes && !cached {
		t.container()
	}
	t.removed()
	for ; t.noting > 0 && !cached; t.noting-- {
		t.container()
		t.removed()
	}
}

// failed ends one that did not succeed: docker keeps its container, unless told by force.
func (t *classicTrace) failed(force bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if force {
		t.removed()
	}
}

func (t *classicTrace) removed() {
	if t.say.Keep {
		return
	}
	for _, name := range t.running {
		t.say.Stdout(" ---> Removed intermediate container " + name + "\n")
	}
	t.running = nil
}

// lastCommand is what RUN of a trigger executed, as well as BuildKit says it.
func (t *classicTrace) lastCommand() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []string{"/bin/sh", "-c", strings.TrimPrefix(t.command, "RUN ")}
}

func itoa(n int) string { return strconv.Itoa(n) }
