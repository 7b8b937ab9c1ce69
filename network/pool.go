package network

import (
	"log/slog"
	"sync"
	"time"
)

// pool keeps a few endpoints ready once it is started. take hands one out at once
// when there is one, and makes one otherwise; a goroutine fills up in the background.
type pool struct {
	size int
	make func() (*Endpoint, error)
	log  *slog.Logger
	want chan struct{} // one token: the filler has something to do
	done chan struct{} // closed when the filler has ended

	mu      sync.Mutex
	ready   []*Endpoint
	filling bool
	closed  bool
}

func newPool(size int, log *slog.Logger, make func() (*Endpoint, error)) *pool {
	return &pool{size: size, make: make, log: log, want: newSignal(1), done: newSignal(0)}
}

func newSignal(n int) chan struct{} { return make(chan struct{}, n) }

// start begins to fill the pool. It is called once at most, before close.
func (p *pool) start() {
	p.mu.Lock()
	p.filling = true
	p.mu.Unlock()
	go p.fill()
	p.wake()
}

func (p *pool) wake() {
	select {
	case p.want <- struct{}{}:
	default:
	}
}

// fill makes endpoints until the pool is full, whenever it is woken. A failure is
// logged and tried again at the next wake: take meets the same error and reports it.
func (p *pool) fill() {
	defer close(p.done)
	for range p.want {
		p.rest()
		for p.missing() {
			e, err := p.make()
			if err != nil {
				p.log.Warn("cannot keep a network namespace ready", "error", err)
				time.Sleep(10 * time.Millisecond)
				break
			}
			p.mu.Lock()
			if p.closed {
				p.mu.Unlock()
				e.Close()
				return
			}
			p.ready = append(p.ready, e)
			p.mu.Unlock()
		}
	}
}

// calm is how long nobody must have taken any before it is time to make more.
const calm = 25 * time.Millisecond

// rest puts the filling off, so that it does not take processors away from the
// start that has just taken one, until there is calm or few are left.
func (p *pool) rest() {
	for {
		p.mu.Lock()
		now := p.closed || len(p.ready) <= p.size/4
		p.mu.Unlock()
		if now {
			return
		}
		select {
		case <-time.After(calm):
			return
		case _, open := <-p.want:
			if !open {
				return
			}
		}
	}
}

func (p *pool) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && len(p.ready) < p.size
}

func (p *pool) take() (*Endpoint, error) {
	p.mu.Lock()
	var e *Endpoint
	if len(p.ready) > 0 {
		e, p.ready = p.ready[0], p.ready[1:]
	}
	if p.filling && !p.closed {
		p.wake() // under the lock: close closes the channel only afterwards
	}
	p.mu.Unlock()
	if e != nil {
		return e, nil
	}
	return p.make()
}

// close ends the filler and closes what is ready. It is called once.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	ready := p.ready
	p.ready = nil
	filling := p.filling
	p.mu.Unlock()
	if filling {
		close(p.want)
		<-p.done
	}
	for _, e := range ready {
		e.Close()
	}
}
