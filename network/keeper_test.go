package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
)

// holder is a keeper that holds sockets and names as the real one does, and answers
// nobody.
type holder struct {
	sync.Mutex
	holds map[string]keeper.NetworkHold // by container; its sockets are duplicates
	names map[string]map[string]keeper.NameEntry
}

func newHolder() *holder {
	return &holder{holds: map[string]keeper.NetworkHold{}, names: map[string]map[string]keeper.NameEntry{}}
}

func (h *holder) HoldNetwork(_ context.Context, n keeper.NetworkHold) error {
	h.Lock()
	defer h.Unlock()
	old := h.holds[n.ID]
	if r := n.Resolver; r != nil {
		copied := *r
		n.Resolver = &copied
		if old.Resolver != nil && r.UDP == nil {
			n.Resolver.UDP, n.Resolver.TCP = old.Resolver.UDP, old.Resolver.TCP
		} else if r.UDP == nil {
			return fmt.Errorf("a resolver without sockets")
		} else {
			n.Resolver.UDP, n.Resolver.TCP = dup(r.UDP), dup(r.TCP)
		}
	}
	n.Ports = slices.Clone(n.Ports)
	for i := range n.Ports {
		p := &n.Ports[i]
		if p.Socket != nil {
			p.Socket = dup(p.Socket)
			continue
		}
		j := slices.IndexFunc(old.Ports, func(o keeper.HeldPort) bool { return o.Proto == p.Proto && o.Host == p.Host })
		if j < 0 {
			return fault.New(fault.NotFound, "port %s/%s without a socket", p.Host, p.Proto)
		}
		p.Socket = old.Ports[j].Socket
		old.Ports = slices.Delete(old.Ports, j, j+1)
	}
	for _, p := range old.Ports {
		p.Socket.Close()
	}
	if r := old.Resolver; r != nil && (n.Resolver == nil || n.Resolver.UDP != r.UDP) {
		r.UDP.Close()
		r.TCP.Close()
	}
	h.holds[n.ID] = n
	return nil
}

func dup(f *os.File) *os.File {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func (h *holder) ReleaseNetwork(_ context.Context, id string, _ uint64) error {
	h.Lock()
	defer h.Unlock()
	n := h.holds[id]
	if n.Resolver != nil {
		n.Resolver.UDP.Close()
		n.Resolver.TCP.Close()
	}
	for _, p := range n.Ports {
		p.Socket.Close()
	}
	delete(h.holds, id)
	return nil
}

func (h *holder) NetworkHolds(context.Context) ([]keeper.HeldNetwork, error) {
	h.Lock()
	defer h.Unlock()
	var l []keeper.HeldNetwork
	for id, n := range h.holds {
		held := keeper.HeldNetwork{ID: id, Generation: n.Generation, Ports: []keeper.HostPort{}}
		for _, p := range n.Ports {
			held.Ports = append(held.Ports, keeper.HostPort{Proto: p.Proto, Host: p.Host})
		}
		l = append(l, held)
	}
	return l, nil
}

func (h *holder) SetNames(_ context.Context, network string, replace bool, set []keeper.NameEntry, remove []string) error {
	h.Lock()
	defer h.Unlock()
	if replace || h.names[network] == nil {
		h.names[network] = map[string]keeper.NameEntry{}
	}
	for _, id := range remove {
		delete(h.names[network], id)
	}
	for _, e := range set {
		h.names[network][e.Container] = e
	}
	return nil
}

func (h *holder) DropNames(_ context.Context, network string) error {
	h.Lock()
	defer h.Unlock()
	delete(h.names, network)
	return nil
}

// namesOf returns who has a name in a network, and its addresses.
func (h *holder) namesOf(network string) map[string][]netip.Addr {
	h.Lock()
	defer h.Unlock()
	all := map[string][]netip.Addr{}
	for _, e := range h.names[network] {
		for _, name := range e.Names {
			all[name] = append(all[name], e.Addresses...)
		}
	}
	return all
}

// ports returns what is held for a container: "tcp 0.0.0.0:80 172.17.0.2:80".
func (h *holder) ports(container string) []string {
	h.Lock()
	defer h.Unlock()
	var l []string
	for _, p := range h.holds[container].Ports {
		l = append(l, fmt.Sprint(p.Proto, " ", p.Host, " ", p.Target))
	}
	return l
}

// die forgets everything, as a keeper does that dies.
func (h *holder) die() {
	h.Lock()
	defer h.Unlock()
	for _, n := range h.holds {
		if n.Resolver != nil {
			n.Resolver.UDP.Close()
			n.Resolver.TCP.Close()
		}
		for _, p := range n.Ports {
			p.Socket.Close()
		}
	}
	clear(h.holds)
	clear(h.names)
}

// empty tells whether nothing is held.
func (h *holder) empty() bool {
	h.Lock()
	defer h.Unlock()
	for _, n := range h.names {
		if len(n) > 0 {
			return false
		}
	}
	return len(slices.Collect(maps.Keys(h.holds))) == 0
}

// listenEverywhere takes a UDP and a TCP port at all addresses, and gives them back.
func listenEverywhere(port int) error {
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_STREAM} {
		fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
			return err
		}
		if kind == unix.SOCK_STREAM {
			if err := unix.Listen(fd, 1); err != nil {
				return err
			}
		}
	}
	return nil
}
