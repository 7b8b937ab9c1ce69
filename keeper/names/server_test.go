package names

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"hoy/linux/epoll"
	"hoy/linux/netlink"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

var resolverAddr = netip.MustParseAddrPort("127.0.0.11:53")

// bed is a container's network namespace with a Server in it, and the host's, which is
// the test's.
type bed struct {
	t      testing.TB
	ns     *os.File
	conf   string // the host's resolv.conf
	tables Tables
	s      *Server
}

func newBed(t testing.TB) *bed {
	rootful.Check(t)
	b := &bed{t: t, conf: filepath.Join(t.TempDir(), "resolv.conf")}
	var err error
	if b.ns, err = netlink.NewNamespace(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.ns.Close() })
	if err := netlink.LoopbackUp(b.ns); err != nil {
		t.Fatal(err)
	}
	set, err := epoll.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	udp, tcp := b.sockets()
	if b.s, err = Serve(set, &b.tables, NewHost(b.conf), udp, tcp); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.s.Close)
	b.hostServers()
	b.tables.Set("n", false, []Entry{{"c1", []string{"web"}, addrs("10.0.0.2", "fd00::2")}}, nil)
	b.configure(Resolver{})
	return b
}

func (b *bed) configure(r Resolver) {
	r.Networks = []string{"n"}
	b.s.Configure(r)
}

// in runs f in the container's namespace.
func (b *bed) in(f func() error) {
	b.t.Helper()
	if err := netlink.In(b.ns, f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) sockets() (udp, tcp int) {
	b.in(func() (err error) {
		sa := sockaddr(resolverAddr)
		if udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Bind(udp, sa)
		}
		if err == nil {
			tcp, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		}
		if err == nil {
			err = unix.Bind(tcp, sa)
		}
		if err == nil {
			err = unix.Listen(tcp, 64)
		}
		return err
	})
	return udp, tcp
}

// hostServers writes the host's resolv.conf.
func (b *bed) hostServers(addrs ...string) {
	b.t.Helper()
	text := "# made by a test\nsearch example.com\n"
	for _, a := range addrs {
		text += "nameserver " + a + "\n"
	}
	tmp := b.conf + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, b.conf); err != nil {
		b.t.Fatal(err)
	}
}

// upstream is a server that others are asked of.
type upstream struct {
	asked atomic.Int32
	do    func(q []byte, tcp bool) [][]byte // the answers
}

// start serves at addr, in the container's namespace if inside.
func (b *bed) start(addr string, inside bool, do func(q []byte, tcp bool) [][]byte) *upstream {
	b.t.Helper()
	u := &upstream{do: do}
	var pc net.PacketConn
	var l net.Listener
	open := func() (err error) {
		if pc, err = net.ListenPacket("udp", addr); err == nil {
			l, err = net.Listen("tcp", addr)
		}
		return err
	}
	if inside {
		b.in(open)
	} else if err := open(); err != nil {
		b.t.Fatal(err)
	}
	raw, err := pc.(*net.UDPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, received) })
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { pc.Close(); l.Close() })
	go func() {
		buf := make([]byte, maxTCP)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			u.asked.Add(1)
			for _, a := range do(slices.Clone(buf[:n]), false) {
				pc.WriteTo(a, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					q, err := readMessage(c)
					if err != nil {
						return
					}
					u.asked.Add(1)
					for _, a := range do(q, true) {
						writeMessage(c, a)
					}
				}
			}()
		}
	}()
	return u
}

// with answers every question for A with one address, others with nothing.
func with(addr string) func(q []byte, tcp bool) [][]byte {
	return func(msg []byte, tcp bool) [][]byte {
		q, _, _ := parse(msg, maxTCP)
		var as []netip.Addr
		if q.question.Type == typeA {
			as = addrs(addr)
		}
		return [][]byte{q.addresses(nil, as)}
	}
}

func rcode(r dnsmessage.RCode) func(q []byte, tcp bool) [][]byte {
	return func(q []byte, tcp bool) [][]byte { return [][]byte{Fail(nil, q, r)} }
}

func silent([]byte, bool) [][]byte { return nil }

// exchange asks the Server as a container does.
func (b *bed) exchange(network string, msg []byte) []byte {
	b.t.Helper()
	c := b.connect(network)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, maxTCP)
	var n int
	var err error
	if network == "tcp" {
		writeMessage(c, msg)
		got, err = readMessage(c)
		n = len(got)
	} else if _, err = c.Write(msg); err == nil {
		n, err = c.Read(got)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return got[:n]
}

func (b *bed) connect(network string) (c net.Conn) {
	b.t.Helper()
	b.in(func() (err error) { c, err = net.Dial(network, resolverAddr.String()); return err })
	return c
}

func (b *bed) says(network, name string, t dnsmessage.Type, want string) {
	b.t.Helper()
	if got := read(b.t, b.exchange(network, ask(name, t, 0))); got != want {
		b.t.Errorf("%s %s: %q, want %q", network, name, got, want)
	}
}

// TestForward asks the host's servers, and a container's own from its namespace.
func TestForward(t *testing.T) {
	b := newBed(t)
	b.start("127.0.0.53:53", false, with("9.9.9.9"))
	b.start("[::1]:53", false, with("9.9.9.6"))
	b.start("127.0.0.53:53", true, with("8.8.8.8"))
	for _, network := range []string{"udp", "tcp"} {
		b.configure(Resolver{})
		b.hostServers("127.0.0.53")
		b.says(network, "web.", typeA, "Success 10.0.0.2")
		b.says(network, "example.com.", typeA, "Success 9.9.9.9")
		b.says(network, "lan.", typeA, "Success 9.9.9.9")
		b.configure(Resolver{Servers: []netip.AddrPort{resolverAddr, netip.MustParseAddrPort("127.0.0.53:53")}, NetNS: b.dup(), View: View{Isolated: true}})
		b.says(network, "example.com.", typeA, "Success 8.8.8.8")
		b.configure(Resolver{View: View{Isolated: true}})
		b.says(network, "example.com.", typeA, "ServerFailure")
		b.says(network, "web.", typeA, "Success 10.0.0.2")
		time.Sleep(checkAfter)
		b.hostServers("::1")
	}
	b.configure(Resolver{})
	time.Sleep(checkAfter)
	b.says("udp", "example.com.", typeA, "Success 9.9.9.6")
}

func (b *bed) dup() *os.File {
	fd, err := unix.FcntlInt(b.ns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "netns")
}

// TestServersFail has servers that do not answer, or badly: the next is asked, and who was
// silent is asked last from then on.
func TestServersFail(t *testing.T) {
	b := newBed(t)
	good := b.start("127.0.1.1:53", false, with("9.9.9.9"))
	dead := b.start("127.0.1.2:53", false, silent)
	b.start("127.0.1.3:53", false, rcode(dnsmessage.RCodeServerFailure))
	none := b.start("127.0.1.4:53", false, rcode(dnsmessage.RCodeNameError))
	b.start("127.0.1.5:53", false, func(q []byte, tcp bool) [][]byte { // forged ones before the right one
		right := with("9.9.9.5")(q, tcp)[0]
		id, question, name := slices.Clone(right), slices.Clone(right), slices.Clone(right)
		id[0]++
		question[2] &^= 0x80
		name[13]++
		forged := [][]byte{nil, id, question, name, right[:12]}
		if tcp {
			forged = nil
		}
		return append(forged, right)
	})
	for _, network := range []string{"udp", "tcp"} {
		b.configure(Resolver{Servers: hostsOf("127.0.1.2", "127.0.1.1"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "Success 9.9.9.9")
		was := dead.asked.Load()
		for i := range 20 {
			b.says(network, fmt.Sprintf("a%d.example.", i), typeA, "Success 9.9.9.9")
		}
		if n := dead.asked.Load() - was; n > 10 { // a machine under load may take long with some
			t.Errorf("%s: a dead server was asked %d of 20 questions", network, n)
		}
		b.configure(Resolver{Servers: hostsOf("127.0.1.9", "127.0.1.3", "127.0.1.1"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "Success 9.9.9.9")
		b.configure(Resolver{Servers: hostsOf("127.0.1.3"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "ServerFailure")
		b.configure(Resolver{Servers: hostsOf("127.0.1.9"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "ServerFailure")
		b.configure(Resolver{Servers: hostsOf("127.0.1.5"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "Success 9.9.9.5")
		was = good.asked.Load()
		b.configure(Resolver{Servers: hostsOf("127.0.1.4", "127.0.1.1"), NetNS: b.host()})
		b.says(network, "a.example.", typeA, "NameError") // an answer like others
		if good.asked.Load() != was || none.asked.Load() == 0 {
			t.Errorf("a server that knows of no such name is not believed")
		}
	}
}

func hostsOf(as ...string) (out []netip.AddrPort) {
	for _, a := range addrs(as...) {
		out = append(out, netip.AddrPortFrom(a, 53))
	}
	return out
}

// host is the test's own namespace.
func (b *bed) host() *os.File {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

// TestUnchanged passes bytes on as they are, but for the number, in both directions.
func TestUnchanged(t *testing.T) {
	b := newBed(t)
	var mu sync.Mutex
	var saw []byte
	tail := strings.Repeat("more than fits in a datagram of old ", 40)
	b.start("127.0.0.53:53", false, func(q []byte, tcp bool) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		saw = slices.Clone(q)
		q[2] |= 0x80
		if !tcp {
			q[2] |= 2 // truncated
		}
		return [][]byte{append(q, tail...)}
	})
	b.hostServers("127.0.0.53")
	for _, network := range []string{"udp", "tcp"} {
		msg := append(ask("eXample.COM.", dnsmessage.Type(64), 1232), "what nobody knows"...)
		got := b.exchange(network, msg)
		mu.Lock()
		if string(saw[2:]) != string(msg[2:]) {
			t.Errorf("the server got %x, want %x", saw, msg)
		}
		mu.Unlock()
		want := append(slices.Clone(msg), tail...)
		want[2] = got[2]
		if string(got) != string(want) || got[2]&0x80 == 0 || (got[2]&2 != 0) != (network == "udp") {
			t.Errorf("the client got %x", got)
		}
	}
}

// TestGoResolver looks names up as a program does, with large answers, which come by TCP.
func TestGoResolver(t *testing.T) {
	b := newBed(t)
	for i := range 300 {
		b.tables.Set("n", false, []Entry{{fmt.Sprint("many", i), []string{"many"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}}}, nil)
	}
	b.hostServers("127.0.0.53")
	b.start("127.0.0.53:53", false, func(msg []byte, tcp bool) [][]byte {
		q, _, _ := parse(msg, maxTCP)
		var as []netip.Addr
		for i := range 400 {
			if q.question.Type == typeA {
				as = append(as, netip.AddrFrom4([4]byte{9, 9, byte(i >> 8), byte(i)}))
			}
		}
		if !tcp {
			q.limit = 1232
		}
		return [][]byte{q.addresses(nil, as)}
	})
	r := net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) { return b.connect(network), nil }}
	for name, want := range map[string]int{"web.": 2, "many.": 300, "big.example.": 400} {
		as, err := r.LookupHost(t.Context(), name)
		if err != nil || len(as) != want {
			t.Errorf("%s: %d addresses, want %d, %v", name, len(as), want, err)
		}
	}
	if names, err := r.LookupAddr(t.Context(), "fd00::2"); err != nil || !slices.Equal(names, []string{"web."}) {
		t.Errorf("%q, %v", names, err)
	}
}

// TestGetent has the C library look names up, which asks for both families on one socket
// at a time and gives up a name for which there is none of either.
func TestGetent(t *testing.T) {
	b := newBed(t)
	for _, tool := range []string{"getent", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: it is of Debian's libc-bin and util-linux", err)
		}
	}
	// The tests have mounts of their own.
	for path, text := range map[string]string{"/etc/resolv.conf": "nameserver 127.0.0.11\noptions ndots:0\n", "/etc/nsswitch.conf": "hosts: dns\n"} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(path, unix.MNT_DETACH)
	}
	b.start("127.0.0.53:53", false, func(q []byte, tcp bool) [][]byte {
		if strings.Contains(string(q), "gone") {
			return rcode(dnsmessage.RCodeNameError)(q, tcp)
		}
		return with("9.9.9.9")(q, tcp)
	})
	b.hostServers("127.0.0.53")
	b.tables.Set("n", false, []Entry{{"c2", []string{"db"}, addrs("10.0.0.3")}, {"c3", []string{"six"}, addrs("fd00::3")}}, nil)
	for name, want := range map[string]string{"web": "10.0.0.2 fd00::2", "db": "10.0.0.3", "DB": "10.0.0.3", "six": "fd00::3", "lan": "9.9.9.9", "www.example.com": "9.9.9.9", "gone": "", "10.0.0.3": "db"} {
		db := "ahosts"
		if want == "db" {
			db = "hosts"
		}
		c := exec.Command("nsenter", "--net=/proc/self/fd/3", "getent", db, name)
		c.ExtraFiles = []*os.File{b.ns}
		out, err := c.Output()
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if db == "hosts" {
				got = append(got, f[1])
			} else if !slices.Contains(got, f[0]) {
				got = append(got, f[0])
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestConversation asks much in one connection, without waiting, and ends its own side:
// every answer comes, those that take long after the others.
func TestConversation(t *testing.T) {
	b := newBed(t)
	others := make(chan struct{})
	b.start("127.0.0.53:53", false, func(q []byte, tcp bool) [][]byte {
		<-others
		return with("9.9.9.9")(q, tcp)
	})
	b.hostServers("127.0.0.53")
	c := b.connect("tcp").(*net.TCPConn)
	defer c.Close()
	writeMessage(c, ask("slow.example.", typeA, 0))
	answer := ask("web.", typeA, 0)
	answer[2] |= 0x80
	writeMessage(c, answer) // which is no question
	for range 50 {
		writeMessage(c, ask("web.", typeA, 0))
	}
	c.CloseWrite()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	for i := range 51 {
		want := "Success 10.0.0.2"
		if i == 50 {
			want = "Success 9.9.9.9"
			close(others)
		}
		msg, err := readMessage(c)
		if err != nil {
			t.Fatal(i, err)
		}
		if got := read(t, msg); got != want {
			t.Errorf("answer %d: %q, want %q", i, got, want)
		}
	}
	if _, err := readMessage(c); err == nil {
		t.Error("an answer to no question")
	}
}

// TestFlood asks a silent server more than may be under way: the rest fails at once, and
// nothing of it holds up names of the network.
func TestFlood(t *testing.T) {
	b := newBed(t)
	b.start("127.0.0.53:53", false, silent)
	b.hostServers("127.0.0.53")
	c := b.connect("udp")
	defer c.Close()
	for i := 0; b.s.asked.Load() < maxAsked; i++ { // the first may be given up already
		c.Write(ask(fmt.Sprintf("a%d.example.", i), typeA, 0))
		if i%64 == 63 {
			b.says("udp", "web.", typeA, "Success 10.0.0.2")
		}
	}
	b.says("udp", "more.example.", typeA, "ServerFailure")
	b.says("tcp", "web.", typeA, "Success 10.0.0.2")
}

// TestRoom has many containers together use no more files than are theirs.
func TestRoom(t *testing.T) {
	b := newBed(t)
	b.start("127.0.0.53:53", false, silent)
	b.hostServers("127.0.0.53")
	c := b.connect("tcp")
	writeMessage(c, ask("web.", typeA, 0))
	if _, err := readMessage(c); err != nil {
		t.Fatal(err)
	}
	b.s.host.room.most.Store(3)
	u := b.connect("udp")
	defer u.Close()
	for b.s.host.room.used.Load() < 3 {
		u.Write(ask("a.example.", typeA, 0))
		time.Sleep(time.Millisecond)
	}
	b.says("udp", "more.example.", typeA, "ServerFailure")
	b.says("udp", "web.", typeA, "Success 10.0.0.2")
	refused := b.connect("tcp")
	defer refused.Close()
	refused.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := readMessage(refused); err == nil || os.IsTimeout(err) {
		t.Errorf("a connection too many: %v", err)
	}
	c.Close()
	for b.s.host.room.used.Load() > 0 { // the questions are given up
		time.Sleep(time.Millisecond)
	}
	b.says("tcp", "web.", typeA, "Success 10.0.0.2")
}

// TestTooManyConnections refuses them and goes on.
func TestTooManyConnections(t *testing.T) {
	b := newBed(t)
	var cs []net.Conn
	for range maxConns + 10 {
		cs = append(cs, b.connect("tcp"))
	}
	closed := 0
	for _, c := range cs {
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		writeMessage(c, ask("web.", typeA, 0))
		if _, err := readMessage(c); err != nil {
			closed++
		}
	}
	if closed != 10 {
		t.Errorf("%d closed", closed)
	}
	b.says("udp", "web.", typeA, "Success 10.0.0.2")
	b.s.Close()
	for _, c := range cs {
		if _, err := readMessage(c); err == nil || os.IsTimeout(err) {
			t.Fatal(err)
		}
	}
}
