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

// report tells somebody how far it is, in a goroutine of its own: a client that reads
// nothing, as a terminal that is stopped, must not hold up what others wait for.
type report struct {
	mu    sync.Mutex
	lines []*line                    // guarded by mu
	last  map[digest.Digest]Progress // guarded by mu
	queue []Progress                 // not told yet, guarded by mu: a few for each blob
	deaf  bool                       // nobody is told
	news  chan struct{}              // something is in queue
	quit  chan struct{}
	ended sync.WaitGroup
}

// line is what moves without saying so: it is looked at now and then.
type line struct {
	look func() (Progress, bool) // false: nothing to tell
	off  bool
}

func newReport(tell func(Progress)) *report {
	r := &report{deaf: tell == nil, last: map[digest.Digest]Progress{}, news: make(chan struct{}, 1), quit: make(chan struct{})}
	if r.deaf {
		return r
	}
	r.ended.Go(func() {
		t := time.NewTicker(often)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				r.look()
			case <-r.news:
			case <-r.quit:
				r.deliver(tell)
				return
			}
			r.deliver(tell)
		}
	})
	return r
}

func (r *report) deliver(tell func(Progress)) {
	r.mu.Lock()
	queue := r.queue
	r.queue = nil
	r.mu.Unlock()
	for _, p := range queue {
		tell(p)
	}
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

// send tells a step.
func (r *report) send(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sendLocked(p)
}

func (r *report) sendLocked(p Progress) {
	if !r.deaf && r.last[p.Digest] != p {
		r.last[p.Digest] = p
		r.queue = append(r.queue, p)
		signal(r.news)
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

// end waits until all is told.
func (r *report) end() {
	close(r.quit)
	r.ended.Wait()
}
