package network

import (
	"log/slog"
	"os"
	"sync"
	"time"

	"hoy/lib/fault"
)

// prepared is a pair of namespaces that is ready for a container, with a link and its
// address if the pool is of a network that has such.
type prepared struct {
	userNS, netNS *os.File // userNS is nil for the host's
	endpoint      *Endpoint
	parent        int       // index of the network's link that the endpoint was made with
	resolver      *resolver // nil: the network has no names
	drop          func()    // gives back what the endpoint holds
}

func (p *prepared) discard() {
	if p.drop != nil {
		p.drop()
	}
	p.resolver.close()
	p.userNS.Close() // on nil it only returns an error
	p.netNS.Close()
}

// pool keeps a few namespaces ready once it is started. take hands one out at once
// when there is one, and makes one otherwise; a goroutine fills up in the background.
type pool struct {
	size int
	make func() (*prepared, error)
	log  *slog.Logger
	want chan struct{} // one token: the filler has something to do
	done chan struct{} // closed when the filler has ended

	mu      sync.Mutex
	made    sync.Cond // making has become false
	ready   []*prepared
	filling bool
	making  bool // the filler is at work
	waited  bool // and somebody waits for it
	closed  bool
}

func newPool(size int, log *slog.Logger, make func() (*prepared, error)) *pool {
	p := &pool{size: size, make: make, log: log, want: newSignal(1), done: newSignal(0)}
	p.made.L = &p.mu
	return p
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

// fill makes namespaces until the pool is full, whenever it is woken. A failure is
// logged and tried again at the next wake: take meets the same error and reports it.
func (p *pool) fill() {
	defer close(p.done)
	for range p.want {
		p.rest()
		for p.begin() {
			e, err := p.make()
			if err != nil {
				p.end(nil)
				if !fault.Is(err, fault.Unavailable) { // a subnet that is full
					p.log.Warn("cannot keep a network namespace ready", "error", err)
				}
				time.Sleep(10 * time.Millisecond)
				break
			}
			p.end(e)
		}
	}
}

// begin tells whether one is missing, which the filler then makes.
func (p *pool) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.making = !p.closed && len(p.ready) < p.size
	return p.making
}

// end puts what the filler has made to the others; nil: it has failed.
func (p *pool) end(e *prepared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.making = false
	p.made.Broadcast()
	switch {
	case e == nil:
	case p.closed:
		go e.discard() // not under the lock
	default:
		p.ready = append(p.ready, e)
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

func (p *pool) take() (*prepared, error) {
	p.mu.Lock()
	var e *prepared
	if len(p.ready) == 0 && p.making && !p.waited { // it is ready before one that is begun now
		p.waited = true
		p.made.Wait()
		p.waited = false
	}
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
	e, err := p.make()
	if fault.Is(err, fault.Unavailable) { // the filler may have the last address
		if last := p.pick(func(*prepared) bool { return true }); last != nil {
			return last, nil
		}
	}
	return e, err
}

// pick takes the first ready one that is wanted, also one that the filler is making.
func (p *pool) pick(wanted func(*prepared) bool) *prepared {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for i, e := range p.ready {
			if wanted(e) {
				p.ready = append(p.ready[:i:i], p.ready[i+1:]...)
				return e
			}
		}
		if !p.making {
			return nil
		}
		p.made.Wait()
	}
}

// evict discards the first ready one that is wanted for what it holds, such as an
// address that somebody asks for; ok says whether there was one.
func (p *pool) evict(wanted func(*prepared) bool) (ok bool) {
	e := p.pick(wanted)
	if e != nil {
		e.discard()
	}
	return e != nil
}

// close ends the filler and discards what is ready. It is called once.
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
		e.discard()
	}
}
