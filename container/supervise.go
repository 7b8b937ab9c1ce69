package container

import (
	"context"
	"errors"
	"log/slog"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/keeper"
	"hoy/linux/pidfd"
)

// supervision is what of a container's restarts and its health survives the engine.
type supervision struct {
	Restarts int  `json:"restarts,omitempty"` // by policy, since somebody started it
	Stopped  bool `json:"stopped,omitempty"`  // somebody has sent it a signal since
	Ailing   bool `json:"ailing,omitempty"`   // it is being ended for its health, to be started again

	Health *apicontainer.Health `json:"health,omitempty"` // immutable; as of its last change of status
}

// supervisor starts containers whose restart is due and checks the health of those
// that run, each in a goroutine that exists only then.
type supervisor struct {
	start   func(context.Context, *Container) error // with the operation lock held
	blocked func(*Container) bool                   // it joins one that is restarting itself
	probe   func(*Container, *process, *checkup) *apicontainer.HealthcheckResult
	judged  func(k *Container, p *process, changed bool) // after a result that changes health, or is bad
	log     *slog.Logger
	tasks   *sync.WaitGroup // the engine's
	ready   chan struct{}   // closed when restarts may begin
	ended   chan struct{}   // closed when none may any more

	probed, failed atomic.Uint64 // probes, and those of them that failed

	mu     sync.Mutex
	closed bool
}

// comeback is a restart that waits for its time.
type comeback struct{ timer *time.Timer } // nil: the time is now

// after calls f after d, unless the engine has ended by then, which waits for f.
func (s *supervisor) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.tasks.Add(1)
		s.mu.Unlock()
		defer s.tasks.Done()
		f()
	})
}

// close keeps anything more from beginning.
func (s *supervisor) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.ended)
	}
}

// over tells whether nothing may begin any more.
func (s *supervisor) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// restartLater lets the container be started after a pause. Its mu is held.
func (s *supervisor) restartLater(k *Container, pause time.Duration) {
	b := &comeback{}
	k.pause, k.comeback = pause, b
	b.timer = s.after(pause, func() { s.restart(k, b) })
}

// restart is the end of the pause before a restart.
func (s *supervisor) restart(k *Container, b *comeback) {
	select {
	case <-s.ready:
	case <-s.ended:
		return // the next engine does it
	}
	k.op.lock(context.Background())
	defer k.op.unlock()
	if s.over() {
		return
	}
	blocked := s.blocked(k)
	k.mu.Lock()
	due := k.comeback == b
	switch {
	case !due: // called off
	case k.process != nil: // a start was under way when this restart was promised
		k.comeback, due = nil, false
	case blocked:
		due = false
		s.restartLater(k, longer(k.pause))
	default:
		k.comeback = nil
	}
	k.mu.Unlock()
	if !due {
		return
	}
	if err := s.start(context.Background(), k); err != nil {
		s.log.Error("cannot restart a container", "container", k.id, "error", err)
	}
}

// Supervise starts the containers that should run and do not, and from now on those
// whose restart is due. It returns when they have been started, or go on being
// started: an engine with a slow container answers all the same.
func (c *Containers) Supervise() {
	due := map[*Container]*comeback{}
	var order []*Container
	for _, k := range c.index.all() {
		if p, err := k.running(); err == nil {
			c.resumeHealth(k)
			c.resumeOOM(k, p)
		}
		if b := k.promise(); b != nil {
			due[k], order = b, append(order, k)
		}
	}
	close(c.supervisor.ready) // what was waiting for that comes in its wave now
	done := make(chan struct{})
	c.later(func() {
		defer close(done)
		for _, wave := range waves(order, c.joins) {
			c.startWave(wave, due)
		}
	})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// promise lets a container that an earlier engine had running, or would have
// restarted, wait for its start; nil: it stays as it is. The count of its restarts
// goes on only if that engine was about to restart it.
func (k *Container) promise() *comeback {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process != nil || !k.rec().comesBack() {
		return nil
	}
	if k.rec().State.Status != apicontainer.StateRestarting {
		k.forgetRestarts()
		k.updateLocked(func(r *record) { r.State.Status = apicontainer.StateRestarting })
	}
	k.comeback = &comeback{}
	return k.comeback
}

// startWave starts containers that do not need one another, some at a time.
func (c *Containers) startWave(wave []*Container, due map[*Container]*comeback) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2*goruntime.GOMAXPROCS(0))
	for _, k := range wave {
		select {
		case <-c.closing:
			return
		case slots <- struct{}{}:
		}
		wg.Go(func() {
			c.supervisor.restart(k, due[k])
			<-slots
		})
	}
	wg.Wait()
}

// waves orders containers so that each comes after those whose namespaces it joins.
// Those that join each other in a circle come last, together: they cannot start.
func waves(due []*Container, joins func(*Container) []*Container) [][]*Container {
	waiting := map[*Container]bool{}
	for _, k := range due {
		waiting[k] = true
	}
	var l [][]*Container
	for len(due) > 0 {
		var wave, rest []*Container
		for _, k := range due {
			free := true
			for _, other := range joins(k) {
				free = free && (other == k || !waiting[other])
			}
			if free {
				wave = append(wave, k)
			} else {
				rest = append(rest, k)
			}
		}
		if len(wave) == 0 {
			wave, rest = rest, nil
		}
		for _, k := range wave {
			delete(waiting, k)
		}
		l, due = append(l, wave), rest
	}
	return l
}

// joinsRestarting tells whether k joins a container that is about to be restarted, or
// has ended and may be.
func (c *Containers) joinsRestarting(k *Container) bool {
	for _, other := range c.joins(k) {
		p, err := other.running()
		if other != k && errors.Is(err, errRestarting) || err == nil && pidfd.Signal(p.Pidfd, 0) != nil {
			return true
		}
	}
	return false
}

// joins returns the containers whose namespaces k joins.
func (c *Containers) joins(k *Container) []*Container {
	h := k.rec().Host
	var l []*Container
	for _, ref := range []string{h.NetworkMode.ConnectedContainer(), h.PidMode.Container(), h.IpcMode.Container()} {
		if other, err := c.index.get(ref); ref != "" && err == nil {
			l = append(l, other)
		}
	}
	return l
}

// forgetRestarts lets what has happened so far be forgotten. The lock of mu is held.
func (k *Container) forgetRestarts() {
	k.pause = 0
	k.updateLocked(func(r *record) { r.Supervision.Restarts, r.Supervision.Stopped = 0, false })
}

// nextLocked decides what follows the exit of p, the present process.
func (k *Container) nextLocked(p *process, e keeper.Exit) (pause time.Duration, again bool) {
	r := k.rec()
	if k.removing {
		return 0, false
	}
	return next(r.Host.RestartPolicy, outcome{
		code: e.Code, ran: e.At.Sub(p.StartedAt), restarts: r.Supervision.Restarts, pause: k.pause,
		stopped: r.Supervision.Stopped, halted: p.halted, unhealthy: r.Supervision.Ailing,
	})
}
