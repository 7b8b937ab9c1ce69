package image

import (
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// State is how far a pull or a push is: with one blob, or as a whole.
type State uint8

// The states of a pull, in their order; Resolved is the whole pull's.
const (
	Resolved State = iota // it is known what the reference stands for
	Begun                 // the blob is wanted
	Waiting               // its turn has not come
	Downloading
	Verifying
	Downloaded
	Extracting
	Complete
	Present // it was here already
)

// The states of a push.
const (
	Preparing State = iota + Present + 1
	Pushing
	Pushed
	There   // the registry has it
	Mounted // from the repository that From names
)

// Progress is one step of a pull or a push.
type Progress struct {
	State          State
	Digest         digest.Digest // of the blob, or of what the reference stands for
	Current, Total int64         // bytes, with Downloading, Extracting and Pushing
	From           string        // with Mounted
}

// often is how long progress in bytes waits for more of it.
const often = 100 * time.Millisecond

// report tells somebody how far it is.
type report struct {
	mu    sync.Mutex // held while telling: one at a time
	tell  func(Progress)
	lines []*line
	last  map[digest.Digest]Progress
	quit  chan struct{}
	ended sync.WaitGroup
}

// line is what moves without saying so: it is looked at now and then.
type line struct {
	look func() (Progress, bool) // false: nothing to tell
	off  bool
}

func newReport(tell func(Progress)) *report {
	r := &report{tell: tell, last: map[digest.Digest]Progress{}, quit: make(chan struct{})}
	if tell == nil {
		return r
	}
	r.ended.Go(func() {
		t := time.NewTicker(often)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.look()
			case <-r.quit:
				return
			}
		}
	})
	return r
}

func (r *report) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if l.off {
			continue
		}
		if p, ok := l.look(); ok {
			r.sendLocked(p)
		}
	}
}

// send tells a step at once.
func (r *report) send(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sendLocked(p)
}

func (r *report) sendLocked(p Progress) {
	if r.tell != nil && r.last[p.Digest] != p {
		r.last[p.Digest] = p
		r.tell(p)
	}
}

// watch looks at something until stop is called, which tells the last of it.
func (r *report) watch(look func() (Progress, bool)) (stop func()) {
	l := &line{look: look}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, l)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.off {
			return
		}
		l.off = true
		if p, ok := look(); ok {
			r.sendLocked(p)
		}
	}
}

func (r *report) end() {
	close(r.quit)
	r.ended.Wait()
}
