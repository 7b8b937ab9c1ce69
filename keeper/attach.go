package keeper

import (
	"os"
	"path/filepath"
	"slices"

	"hoy/lib/fault"
)

// run starts the goroutines of a process that lives.
func (p *process) run() {
	go p.flow()
	go p.wait()
}

// flow starts the streams. Those of an adopted process wait for its clients, which an
// engine may hand over.
func (p *process) flow() {
	defer close(p.flowed)
	if !p.child {
		<-p.s.settled
	}
	if p.adopted {
		p.redeliver()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing = true
	for _, st := range p.streams {
		go st.run()
	}
}

// attach adds a client, which sees all output from now on; one that an earlier keeper
// had sees it from where it was.
func (p *process) attach(f *os.File, a attachBody) error {
	v, err := newViewer(p, f, a)
	if err != nil {
		f.Close()
		return err
	}
	p.mu.Lock()
	over, known := p.over || a.Generation != 0 && a.Generation != p.Generation, false
	if !over {
		known = slices.ContainsFunc(p.viewers, func(o *viewer) bool { return a.Client != 0 && o.want.Client == a.Client })
		if !known {
			p.remember(v)
			p.viewers = append(slices.Clip(p.viewers), v)
		}
	}
	p.mu.Unlock()
	switch {
	case over:
		v.leave(false)
		return fault.New(fault.Conflict, "%s is not running", p.ID)
	case known: // the request is repeated
		f.Close()
		return nil
	}
	select {
	case <-p.ended:
		v.hurry()
	default:
	}
	go v.read()
	return nil
}

// remember gives v its mark. The caller holds mu.
func (p *process) remember(v *viewer) {
	if v.want.Client == 0 {
		return
	}
	if p.delivery == nil {
		d, err := openDelivery(filepath.Join(p.dir(), "clients"))
		if err != nil {
			go p.complain("its clients will not survive this keeper: %v", err)
			return
		}
		p.delivery = d
	}
	var resumed bool
	switch v.mark, resumed = p.delivery.take(v.want.Client); {
	case resumed:
		v.want.Preread = nil
	case v.mark == nil: // too many: this one ends with the keeper
		v.letGo()
	}
}

func (p *process) remove(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.viewers, v); i >= 0 {
		p.viewers = slices.Delete(slices.Clone(p.viewers), i, i+1)
	}
}

func (p *process) attached() []*viewer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.viewers
}

// give gives a frame to one client.
func (p *process) give(v *viewer, fd int, frame []byte, number uint32) {
	if !v.write(fd, frame, number) {
		p.remove(v)
		v.leave(false)
	}
}

// A parcel is output on its way to the clients that were there when it was read.
type parcel struct {
	st      *stream
	viewers []*viewer
	frame   []byte
	number  uint32
}

// batch makes a parcel of data[seen:], where data is the head of what the journal
// says of the stream.
func (st *stream) batch(data []byte, seen int) parcel {
	p := st.p
	p.mu.Lock()
	viewers, d := p.viewers, p.delivery
	p.mu.Unlock()
	if seen >= len(data) || len(viewers) == 0 {
		return parcel{}
	}
	at := st.entry.taken.Load() + uint64(seen)
	frame, number := d.put(st.fd-1, at, data[seen:])
	return parcel{st, viewers, frame, number}
}

// deliver gives the parcel to every client, one after the other.
func (d parcel) deliver() {
	for _, v := range d.viewers {
		d.st.p.give(v, d.st.fd, d.frame, d.number)
	}
}

// redeliver gives to the clients of an earlier keeper what that was about to give
// them. It closes a frame that was cut before another begins.
func (p *process) redeliver() {
	p.mu.Lock()
	d, viewers, streams := p.delivery, p.viewers, p.streams
	p.mu.Unlock()
	if d == nil {
		return
	}
	d.keepOnly(viewers)
	for _, v := range viewers {
		order := [2]int{0, 1}
		if s, cut := v.cut(); cut && s == 1 {
			order = [2]int{1, 0}
		}
		for _, stream := range order {
			if frame, number := d.last(stream); number != 0 && len(frame) > frameHead {
				p.give(v, stream+1, frame, number)
			}
		}
	}
	for _, st := range streams {
		if len(st.unsent) > 0 {
			frame, number := d.put(st.fd-1, d.shown(st.fd-1), st.unsent)
			parcel{st, viewers, frame, number}.deliver()
			st.unsent = nil
		}
	}
}
