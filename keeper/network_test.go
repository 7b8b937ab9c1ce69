package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/linux/netlink"
	"hoy/test/eventually"
)

// sandbox is a container's network namespace.
type sandbox struct {
	t  *testing.T
	ns *os.File
}

func newSandbox(t *testing.T) *sandbox {
	ns, err := netlink.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := netlink.LoopbackUp(ns); err != nil {
		t.Fatal(err)
	}
	return &sandbox{t, ns}
}

func (s *sandbox) in(f func() error) {
	s.t.Helper()
	if err := netlink.In(s.ns, f); err != nil {
		s.t.Fatal(err)
	}
}

// fileOf is the socket of l, which is closed.
func fileOf(l interface {
	File() (*os.File, error)
	io.Closer
}, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.File()
}

// resolver opens the sockets of a resolver anew.
func (s *sandbox) resolver(networks ...string) *keeper.Resolver {
	s.t.Helper()
	r := &keeper.Resolver{NetNS: s.ns, Networks: networks}
	a := netip.MustParseAddrPort("127.0.0.11:53")
	s.in(func() (err error) {
		if r.UDP, err = fileOf(net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))); err == nil {
			r.TCP, err = fileOf(net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(a)))
		}
		return err
	})
	return r
}

func closeResolver(r *keeper.Resolver) { r.UDP.Close(); r.TCP.Close() }

// hold has the keeper hold it, and closes what is borrowed.
func (b *bed) hold(h keeper.NetworkHold) {
	b.t.Helper()
	if err := b.c.HoldNetwork(b.ctx(), h); err != nil {
		b.t.Fatalf("%v\n%s", err, b.keeperLog())
	}
	if h.Resolver != nil && h.Resolver.UDP != nil {
		closeResolver(h.Resolver)
	}
	for _, p := range h.Ports {
		if p.Socket != nil {
			p.Socket.Close()
		}
	}
}

func (b *bed) name(network string, entries ...keeper.NameEntry) {
	b.t.Helper()
	if err := b.c.SetNames(b.ctx(), network, false, entries, nil); err != nil {
		b.t.Fatal(err)
	}
}

func entry(container, name string, as ...string) keeper.NameEntry {
	e := keeper.NameEntry{Container: container, Names: []string{name}}
	for _, a := range as {
		e.Addresses = append(e.Addresses, netip.MustParseAddr(a))
	}
	return e
}

// lookUp returns the addresses of name as a program in the container gets them.
func (s *sandbox) lookUp(name string) string {
	s.t.Helper()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		err = netlink.In(s.ns, func() (err error) {
			c, err = new(net.Dialer).DialContext(ctx, network, "127.0.0.11:53")
			return err
		})
		return c, err
	}}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	as, err := r.LookupHost(ctx, name+".")
	if err != nil {
		return err.Error()
	}
	slices.Sort(as)
	return strings.Join(as, " ")
}

func (s *sandbox) knows(when, name, want string) {
	s.t.Helper()
	if got := s.lookUp(name); got != want {
		s.t.Errorf("%s: %s is %q, want %q", when, name, got, want)
	}
}

// TestNamesOutliveTheEngine has names answered without an engine, after an upgrade, and
// after the keeper was killed, when the engine opens the sockets anew. They end with the
// process, engine or not.
func TestNamesOutliveTheEngine(t *testing.T) {
	b := newBed(t)
	b.c.Close()
	s := newSandbox(t)
	var reheld atomic.Int32
	names := []keeper.NameEntry{entry("c", "web", "10.0.0.2", "fd00::2")}
	b.o.Rehold = func(ctx context.Context) {
		if reheld.Add(1) > 1 {
			t.Error("held twice")
		}
		r := s.resolver("n")
		defer closeResolver(r)
		err := b.c.HoldNetwork(ctx, keeper.NetworkHold{ID: "c", Generation: 1, Resolver: r})
		if err = errors.Join(err, b.c.SetNames(ctx, "n", true, names, nil)); err != nil {
			t.Error(err)
		}
		reheld.Store(10)
	}
	b.start()
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Resolver: s.resolver("n")})
	b.name("n", names...)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat"), OpenStdin: true})
	const web = "10.0.0.2 fd00::2"
	s.knows("running", "web", web)
	b.c.Close()
	s.knows("without an engine", "web", web)
	b.release("x")
	b.start()
	s.knows("after an upgrade", "web", web)
	if reheld.Load() != 0 {
		t.Error("an upgraded keeper was thought a new one")
	}
	b.name("n", entry("d", "db", "10.0.0.3"))
	s.knows("after an upgrade", "db", "10.0.0.3")
	b.killKeeper()
	eventually.True(t, "held anew", func() bool { return reheld.Load() == 10 })
	s.knows("after kill -9", "web", web)
	if held, err := b.c.NetworkHolds(b.ctx()); err != nil || len(held) != 1 || held[0].ID != "c" || held[0].Generation != 1 {
		t.Errorf("%+v, %v", held, err)
	}
	b.killAll()
	closeResolver(s.resolver("n")) // the addresses are free
	if err := b.c.HoldNetwork(b.ctx(), keeper.NetworkHold{ID: "c", Generation: 1, Resolver: &keeper.Resolver{}}); err == nil {
		t.Error("a network is held that has ended")
	}
}

// TestHoldReplaced changes what is held while it is in use, also where that goes wrong.
func TestHoldReplaced(t *testing.T) {
	b := newBed(t)
	s := newSandbox(t)
	b.name("n1", entry("c1", "web", "10.1.0.2"))
	b.name("n2", entry("c2", "web", "10.2.0.2"), entry("c3", "db", "10.2.0.3"))
	r := s.resolver("n1")
	r.Isolated = true
	port := listenTCP(t, "[::1]:0")
	host := netip.MustParseAddrPort(port.addr)
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Resolver: r, Ports: []keeper.HeldPort{{port.file, "tcp", host, serve(t, "tcp", "first"), false}}})
	s.knows("at first", "web", "10.1.0.2")
	if got := s.lookUp("db"); !strings.Contains(got, "server misbehaving") { // it has nobody to ask
		t.Errorf("db: %s", got)
	}
	says(t, "tcp", port.addr, "first")
	second := serve(t, "tcp", "second")
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Resolver: &keeper.Resolver{Networks: []string{"n2", "n1"}, Isolated: true},
		Ports: []keeper.HeldPort{{nil, "tcp", host, second, false}}})
	s.knows("connected", "web", "10.2.0.2")
	s.knows("connected", "db", "10.2.0.3")
	says(t, "tcp", port.addr, "second")
	for name, h := range map[string]keeper.NetworkHold{
		"the keeper holds no socket at":          {ID: "c", Generation: 1, Ports: []keeper.HeldPort{{nil, "udp", host, second, false}}},
		"the keeper holds no resolver's sockets": {ID: "d", Generation: 1, Resolver: &keeper.Resolver{}},
		"is to be held twice":                    {ID: "c", Generation: 1, Ports: []keeper.HeldPort{{nil, "tcp", host, second, false}, {nil, "tcp", host, second, false}}},
		"no network namespace of c":              {ID: "c", Generation: 1, Resolver: &keeper.Resolver{Servers: []netip.AddrPort{host}}},
		"invalid process id":                     {ID: "../c"},
	} {
		if err := b.c.HoldNetwork(b.ctx(), h); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, name)
		}
	}
	s.knows("after refusals", "web", "10.2.0.2")
	says(t, "tcp", port.addr, "second")
	if err := b.c.ReleaseNetwork(b.ctx(), "c", 7); err != nil {
		t.Error(err)
	}
	s.knows("after another's end", "web", "10.2.0.2")
	if err := errors.Join(b.c.DropNames(b.ctx(), "n2"), b.c.SetNames(b.ctx(), "n1", false, nil, []string{"c1"})); err != nil {
		t.Error(err)
	}
	if got := s.lookUp("web"); !strings.Contains(got, "server misbehaving") { // as for every name that nobody may be asked for
		t.Errorf("web: %s", got)
	}
	for range 2 {
		if err := b.c.ReleaseNetwork(b.ctx(), "c", 1); err != nil {
			t.Error(err)
		}
	}
	closeResolver(s.resolver("n"))
	if c, err := net.Dial("tcp", port.addr); err == nil {
		c.Close()
		t.Error("the port is still held")
	}
}

// TestManyNamesAndPorts needs several messages of each.
func TestManyNamesAndPorts(t *testing.T) {
	b := newBed(t)
	s := newSandbox(t)
	var es []keeper.NameEntry
	for i := range 2000 {
		es = append(es, entry(fmt.Sprintf("%064x", i), fmt.Sprint("c", i), fmt.Sprintf("10.0.%d.%d", i>>8, i&255)))
	}
	if err := b.c.SetNames(b.ctx(), "n", true, es, nil); err != nil {
		t.Fatal(err)
	}
	h := keeper.NetworkHold{ID: "c", Generation: 1, Resolver: s.resolver("n")}
	target := serve(t, "tcp", "hello")
	var addrs []string
	for range 450 {
		p := listenTCP(t, "[::1]:0")
		addrs = append(addrs, p.addr)
		h.Ports = append(h.Ports, keeper.HeldPort{Socket: p.file, Proto: "tcp", Host: netip.MustParseAddrPort(p.addr), Target: target})
	}
	b.hold(h)
	for _, i := range []int{0, 777, 1999} {
		s.knows("many", fmt.Sprint("c", i), fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	for _, i := range []int{0, 199, 200, 449} {
		says(t, "tcp", addrs[i], "hello")
	}
	b.c.Close()
	b.release("y")
	b.start()
	s.knows("after an upgrade", "c1999", "10.0.7.207")
	says(t, "tcp", addrs[449], "hello")
	if err := b.c.ReleaseNetwork(b.ctx(), "c", 1); err != nil {
		t.Fatal(err)
	}
	if err := b.c.DropNames(b.ctx(), "n"); err != nil {
		t.Fatal(err)
	}
	pid, _ := b.pid()
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if len(fds) > 40 {
		t.Errorf("the keeper has %d files open", len(fds))
	}
}

type listening struct {
	file *os.File
	addr string
}

// TestHoldEndsWithProcess frees what was held before anybody knows of the end, and holds
// nothing for a start that is over.
func TestHoldEndsWithProcess(t *testing.T) {
	b := newBed(t)
	p := listenTCP(t, "127.0.0.1:0")
	b.hold(keeper.NetworkHold{ID: "c", Generation: 1, Ports: []keeper.HeldPort{{p.file, "tcp", netip.MustParseAddrPort(p.addr), netip.MustParseAddrPort(p.addr), false}}})
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "exit 3")})
	if e := b.exit(); e.Code != 3 {
		t.Errorf("%+v", e)
	}
	l, err := net.Listen("tcp", p.addr) // free as soon as the exit is told
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	b.spawn(keeper.SpawnRequest{ID: "c", Generation: 2, Plan: shell(t, "cat"), OpenStdin: true})
	err = b.c.HoldNetwork(b.ctx(), keeper.NetworkHold{ID: "c", Generation: 1})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a start that is over: %v", err)
	}
	b.killAll()
}
