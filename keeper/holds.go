package keeper

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"hoy/keeper/names"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/linux/epoll"
)

// holds are the networks' part of a keeper: names, and the sockets of containers. All
// idle sockets are waited for by one goroutine.
type holds struct {
	tables names.Tables
	host   *names.Host
	local  localAddresses
	open   atomic.Int32 // connections and flows that are forwarded
	most   int32        // of them; starts and logs need files too

	mu   sync.Mutex
	set  *epoll.Set // nil until something is held
	held map[string]*hold
}

// hold is what is held for one container.
type hold struct {
	HeldNetwork
	resolver *names.Server
	settings resolverBody
	ports    map[portKey]*heldPort
}

type portKey struct {
	proto string
	host  netip.AddrPort
}

func newHolds() *holds {
	hs := &holds{host: names.NewHost(names.HostConfig), most: maxForwarded, held: map[string]*hold{}}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		hs.most = int32(min(maxForwarded, limit.Cur/filesForwarded/4))
	}
	return hs
}

// heldFiles are the descriptors of a hold, -1 where there is none.
type heldFiles struct {
	udp, tcp, netns int
	ports           []int // one for each port of the request
}

// takeHoldFiles sorts the descriptors that came with a request. It owns fds.
func takeHoldFiles(b *holdBody, fds []int) (*heldFiles, error) {
	want := 0
	take := func(has bool) int {
		want++
		switch {
		case !has:
			want--
		case want <= len(fds):
			return fds[want-1]
		}
		return -1
	}
	f := &heldFiles{udp: -1, tcp: -1, netns: -1}
	if r := b.Resolver; r != nil {
		f.udp, f.tcp, f.netns = take(r.HasSockets), take(r.HasSockets), take(r.HasNetNS)
	}
	for _, p := range b.Ports {
		f.ports = append(f.ports, take(p.HasSocket))
	}
	if want != len(fds) {
		closeAll(fds)
		return nil, fault.New(fault.Invalid, "request to hold the network of %s has %d descriptors, needs %d", b.ID, len(fds), want)
	}
	return f, nil
}

// close closes what nobody has taken.
func (f *heldFiles) close() {
	for _, fd := range append([]int{f.udp, f.tcp, f.netns}, f.ports...) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// hold replaces what is held for a container. What does not change goes on: connections,
// questions that wait for an answer. allowed is asked while no hold can end.
func (hs *holds) hold(b *holdBody, f *heldFiles, allowed func() error) error {
	defer f.close()
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if err := allowed(); err != nil {
		return err
	}
	if err := hs.begin(); err != nil {
		return err
	}
	old := hs.held[b.ID]
	if old == nil {
		old = &hold{}
	}
	h := &hold{HeldNetwork: HeldNetwork{ID: b.ID, Generation: b.Generation}, ports: map[portKey]*heldPort{}}
	var undo cleanup.Stack
	defer undo.Run()
	if err := hs.holdPorts(h, old, b, f, &undo); err != nil {
		return err
	}
	if err := hs.holdResolver(h, old, b, f, &undo); err != nil {
		return err
	}
	undo.Release()
	for _, p := range b.Ports {
		h.ports[p.key()].now(&p)
	}
	for key, p := range old.ports {
		if h.ports[key] != p {
			p.close()
		}
	}
	if old.resolver != nil && old.resolver != h.resolver {
		old.resolver.Close()
	}
	hs.held[b.ID] = h
	return nil
}

func (hs *holds) begin() (err error) {
	if hs.set == nil {
		hs.set, err = epoll.New()
	}
	return err
}

func (hs *holds) holdPorts(h, old *hold, b *holdBody, f *heldFiles, undo *cleanup.Stack) error {
	for i, p := range b.Ports {
		if h.ports[p.key()] != nil {
			return fault.New(fault.Invalid, "port %s/%s is to be held twice for %s", p.Host, p.Proto, b.ID)
		}
		if !p.HasSocket {
			if h.ports[p.key()] = old.ports[p.key()]; h.ports[p.key()] == nil {
				return fault.New(fault.NotFound, "the keeper holds no socket at %s/%s for %s", p.Host, p.Proto, b.ID)
			}
			continue
		}
		fd := f.ports[i]
		f.ports[i] = -1
		held, err := hs.holdPort(p, fd)
		if err != nil {
			return err
		}
		undo.Add(held.close)
		h.ports[p.key()] = held
	}
	return nil
}

func (hs *holds) holdResolver(h, old *hold, b *holdBody, f *heldFiles, undo *cleanup.Stack) (err error) {
	r := b.Resolver
	if r == nil {
		return nil
	}
	h.settings, h.resolver = *r, old.resolver
	if r.HasSockets {
		udp, tcp := f.udp, f.tcp
		f.udp, f.tcp = -1, -1
		if h.resolver, err = names.Serve(hs.set, &hs.tables, hs.host, udp, tcp); err != nil {
			return err
		}
		undo.Add(h.resolver.Close)
	}
	if h.resolver == nil {
		return fault.New(fault.NotFound, "the keeper holds no resolver's sockets for %s", b.ID)
	}
	settings := names.Resolver{View: r.View, Servers: r.Servers}
	if f.netns >= 0 {
		settings.NetNS = os.NewFile(uintptr(f.netns), "netns")
		f.netns = -1
	}
	if !h.resolver.Configure(settings) {
		return fault.New(fault.NotFound, "the keeper holds no network namespace of %s, from which to ask its servers", b.ID)
	}
	return nil
}

// release ends a hold; generation 0: whichever it is.
func (hs *holds) release(id string, generation uint64) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.held[id]
	if h == nil || generation != 0 && h.Generation != generation {
		return
	}
	delete(hs.held, id)
	for _, p := range h.ports {
		p.close()
	}
	if h.resolver != nil {
		h.resolver.Close()
	}
}

func (hs *holds) list() (all []HeldNetwork) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range hs.held {
		n := h.HeldNetwork
		n.Ports = []HostPort{}
		for p := range h.ports {
			n.Ports = append(n.Ports, HostPort{p.proto, p.host})
		}
		all = append(all, n)
	}
	return all
}
