package firewall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hoy/linux/nft"
	"hoy/test/eventually"
	"hoy/test/lan"
	"hoy/test/rootful"
)

// talker sends datagrams from one port to another, as a client does that knows nothing
// of containers.
type talker struct{ net.Conn }

func talk(t testing.TB, h lan.Host, to string) talker {
	t.Helper()
	var c net.Conn
	lan.Must(t, h.Do(func() (err error) {
		c, err = net.Dial("udp", to)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return talker{c}
}

// hears sends until somebody answers with what is wanted.
func (c talker) hears(t testing.TB, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(lan.Patience); got != want && time.Now().Before(end); {
		got = lan.Line(c, true, lan.Silence)
	}
	if got != want {
		t.Errorf("%s hears %q, want %q", c.LocalAddr(), got, want)
	}
}

// TestUDPFollows: a client that goes on sending from the same port meets the container
// that the port leads to now, as it would if it were a machine that was restarted.
func TestUDPFollows(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1})
	for _, at := range []string{"192.0.2.1", "2001:db8:2::1"} {
		host := net.JoinHostPort(at, "9000")
		any, web, db := "0.0.0.0:9000", "172.17.0.2:80", "172.17.0.3:80"
		sees := "192.0.2.2"
		if strings.Contains(at, "::") {
			any, web, db, sees = "[::]:9000", "[fd00:17::2]:80", "[fd00:17::3]:80", "2001:db8:2::2"
		}
		client := talk(t, w.Peer, host)
		client.Write([]byte("?")) // to the host, which is remembered as where this goes
		lan.Line(client, true, lan.Silence)
		toWeb, toDB := port("udp", any, "hoy0", web), port("udp", any, "hoy0", db)
		lan.Must(t, f.Publish(toWeb))
		client.hears(t, "web sees "+sees)
		lan.Must(t, f.Unpublish(toWeb))
		lan.Line(client, true, lan.Silence)
		lan.Must(t, f.Publish(toDB))
		client.hears(t, "db sees "+sees)
		lan.Must(t, f.Publish(toWeb)) // in its place
		client.hears(t, "web sees "+sees)
		lan.Must(t, f.Sync([]Network{hoy0, hoy1}, []Port{toDB}))
		client.hears(t, "db sees "+sees)
		lan.Must(t, f.Unpublish(toDB))
	}
}

// TestOthersFlowsStay: publishing a port ends no flows but the port's.
func TestOthersFlowsStay(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1})
	out := talk(t, w.Web, "192.0.2.2:80") // not to the host, by the same number
	out.hears(t, "peer sees 192.0.2.1")
	before := flows(t, "192.0.2.2", 80)
	lan.Must(t, f.Publish(port("udp", "0.0.0.0:80", "hoy0", "172.17.0.2:80")))
	lan.Must(t, f.Unpublish(port("udp", "0.0.0.0:80", "hoy0", "172.17.0.2:80")))
	f.flows.settle()
	if after := flows(t, "192.0.2.2", 80); before == 0 || after != before {
		t.Errorf("%d flows to the peer before, %d after", before, after)
	}
}

// flows counts what connection tracking has to an address and port.
func flows(t *testing.T, to string, port uint16) int {
	t.Helper()
	list, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	lan.Must(t, err)
	n := 0
	for _, f := range list {
		if f.Forward.DstIP.Equal(net.ParseIP(to)) && f.Forward.DstPort == port {
			n++
		}
	}
	return n
}

// TestUnpublishCuts: a connection by a port that is taken back is over, others go on;
// also where the kernel does not find it by itself, or too many would have to be found.
func TestUnpublishCuts(t *testing.T) {
	many := []Port{}
	for i := range few {
		many = append(many, port("tcp", fmt.Sprint("0.0.0.0:", 9000+i), "hoy0", "172.17.0.3:80"))
	}
	for name, c := range map[string]struct {
		any, host, web string
		others         []Port
	}{
		"one":  {"0.0.0.0", "192.0.2.1", "172.17.0.2:80", nil},
		"many": {"0.0.0.0", "192.0.2.1", "172.17.0.2:80", many},
		"IPv6": {"[::]", "[2001:db8:2::1]", "[fd00:17::2]:80", nil},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := port("tcp", c.any+":8080", "hoy0", c.web), port("tcp", c.any+":8081", "hoy0", c.web)
			w, f := begin(t, []Network{hoy0, hoy1}, append(c.others, one, two)...)
			cut, kept := dial(t, w.Peer, c.host+":8080"), dial(t, w.Peer, c.host+":8081")
			lan.Must(t, f.Unpublish(append(c.others, one)...))
			f.flows.settle()
			if err := exchange(kept); err != nil {
				t.Errorf("the other port's connection: %v", err)
			}
			cut.SetDeadline(time.Now().Add(lan.Patience))
			if err := exchange(cut); err == nil {
				t.Error("the port's connection goes on")
			}
		})
	}
}

// TestUnpublishCutsRouted: the same where packets go to the container's own address; the
// containers of its network go on.
func TestUnpublishCutsRouted(t *testing.T) {
	n := hoy0
	n.Mode = Routed
	routed := port("tcp", "0.0.0.0:0", "hoy0", "172.17.0.2:80")
	w, f := begin(t, []Network{n, hoy1}, routed)
	cut, kept := dial(t, w.Peer, "172.17.0.2:80"), dial(t, w.DB, "172.17.0.2:80")
	lan.Must(t, f.Unpublish(routed))
	f.flows.settle()
	if err := exchange(kept); err != nil {
		t.Errorf("a neighbour's connection: %v", err)
	}
	cut.SetDeadline(time.Now().Add(lan.Silence))
	if err := exchange(cut); err == nil {
		t.Error("the port's connection goes on")
	}
}

// dial connects to a server of serve, and reads its first line.
func dial(t testing.TB, h lan.Host, to string) net.Conn {
	t.Helper()
	var c net.Conn
	lan.Must(t, h.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", to, lan.Patience)
		return err
	}))
	t.Cleanup(func() { c.Close() })
	lan.Must(t, readLine(c))
	return c
}

func exchange(c net.Conn) error {
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	return readLine(c)
}

func readLine(c net.Conn) error {
	b := make([]byte, 1)
	for b[0] != '\n' {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
	}
	return nil
}

// TestChangesUnderTraffic: while the table is changed again and again, connections go on
// and new ones come to the container, each of them, and nobody reaches it otherwise.
func TestChangesUnderTraffic(t *testing.T) {
	networks := []Network{hoy0, hoy1}
	other := port("tcp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80")
	link := Allow{prefixOf("172.17.0.2/32").Addr(), prefixOf("172.17.0.3/32").Addr(), "tcp", 80}
	policies, sets := admitting(), admittingBySets()
	w, f := begin(t, networks, published...)
	lasting := dial(t, w.Peer, "192.0.2.1:8080")
	direct := talk(t, w.Peer, "172.17.0.2:80")
	for _, c := range []struct {
		name        string
		connections int // of each client
		change      func(i int) error
	}{
		{"all of it", 2500, func(i int) error { return f.Sync(networks, published) }},
		{"the policy", 500, func(i int) error { return f.SetPolicy(policies[i%len(policies)]) }},
		{"address sets of the policy", 1500, func(i int) error { return f.SetPolicy(sets[i%len(sets)]) }},
		{"the same network", 500, func(i int) error { return f.AddNetwork(hoy0) }},
		{"another network", 500, func(i int) error { return errors.Join(f.RemoveNetwork("hoy1"), f.AddNetwork(hoy1)) }},
		{"another port", 500, func(i int) error { return errors.Join(f.Publish(other), f.Unpublish(other)) }},
		{"links", 500, func(i int) error { return errors.Join(f.Allow("hoy0", link), f.Disallow("hoy0", link)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(context.Background())
			changed := make(chan int)
			go func() {
				n := 0
				for ; ctx.Err() == nil; n++ {
					if err := c.change(n); err != nil {
						t.Error(err)
						break
					}
				}
				changed <- n
			}()
			var clients sync.WaitGroup
			for range 4 { // busy, so that packets are always on their way
				clients.Go(func() { connectOften(t, w.Peer, "192.0.2.1:8080", direct, c.connections) })
			}
			for range 100 {
				if err := exchange(lasting); err != nil {
					t.Errorf("the connection that lasts: %v", err)
					break
				}
			}
			clients.Wait()
			stop()
			t.Logf("changed %d times", <-changed)
		})
	}
	if got := lan.Line(direct, true, lan.Silence); got != "" {
		t.Errorf("at the container's own address the peer hears %q", got)
	}
}

// connectOften connects, and each time tries another way too.
func connectOften(t *testing.T, h lan.Host, to string, direct talker, n int) {
	for range n {
		err := h.Do(func() error {
			c, err := net.DialTimeout("tcp", to, lan.Patience)
			if err == nil {
				c.Close()
			}
			return err
		})
		if err != nil {
			t.Errorf("a new connection: %v", err)
			return
		}
		for range 10 {
			direct.Write([]byte("?"))
		}
	}
}

// admitting are policies that let in the peer.
func admitting() (all []Policy) {
	peer, six := prefixOf("192.0.2.2/32"), prefixOf("2001:db8::1/128").Addr()
	for _, rules := range [][]PolicyRule{
		{{From: peer}},
		{{Zone: &Zone{Name: "lan"}}},
		{{FromSet: &AddressSet{Name: "office", Ranges: []AddressRange{{six, six.Next()}}}}, {From: peer}},
	} {
		all = append(all, Policy{Firewall: "a test's", Refuse: true, Rules: rules})
	}
	return all
}

// admittingBySets are such whose address sets come and go, and have others' places.
func admittingBySets() (all []Policy) {
	guests := &AddressSet{Name: "guests", Ranges: []AddressRange{addresses("203.0.113.0", "203.0.113.255")}}
	office := &AddressSet{Name: "office", Ranges: []AddressRange{addresses("192.0.2.2", "192.0.2.9")}}
	robots := &AddressSet{Name: "robots", MACs: []net.HardwareAddr{{2, 0, 0, 0, 0, 9}}}
	for _, rules := range [][]PolicyRule{
		{{FromSet: office}},
		{{From: prefixOf("192.0.2.2/32")}},
		{{FromSet: guests, Refuse: true}, {FromSet: office}},
		{{FromSet: robots, Refuse: true}, {FromSet: office}},
		{{FromSet: office}, {FromSet: guests, Refuse: true}},
	} {
		all = append(all, Policy{Firewall: "a test's", Refuse: true, Rules: rules})
	}
	return all
}

// TestSideBySide: two engines' tables do not touch each other's.
func TestSideBySide(t *testing.T) {
	w, f := begin(t, []Network{hoy0}, published...)
	g := open(t, "hoy-hoy1")
	lan.Must(t, g.Sync([]Network{hoy1}, []Port{port("tcp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80"), port("udp", "0.0.0.0:8081", "hoy1", "172.18.0.2:80")}))
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	w.Peer.Expect(t, "192.0.2.1:8081", "other sees 192.0.2.2")
	w.Web.Expect(t, "172.18.0.2:80", "")
	lan.Must(t, g.Remove())
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	w.Peer.Expect(t, "192.0.2.1:8081", "")
	lan.Must(t, f.Remove())
	if out, err := exec.Command("nft", "list", "ruleset").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("without engines there is %s (%v)", out, err)
	}
}

// TestOthersRules: what users of iptables, by either back end, and of nft have is as it
// was after all that we do, and holds for our packets too.
func TestOthersRules(t *testing.T) {
	rootful.Check(t)
	w := lan.New(t)
	run(t, "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT")
	run(t, "iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "10.99.0.0/16", "-j", "MASQUERADE")
	run(t, "iptables-legacy", "-A", "FORWARD", "-p", "tcp", "-s", "198.51.100.9", "-j", "DROP")
	run(t, "iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "2222", "-j", "REDIRECT", "--to-ports", "22")
	run(t, "nft", "add table inet users")
	run(t, "nft", "add chain inet users in { type filter hook input priority 0; }")
	t.Cleanup(func() {
		for _, ipt := range []string{"iptables-nft", "iptables-legacy"} {
			for _, table := range []string{"filter", "nat"} {
				run(t, ipt, "-t", table, "-F")
			}
		}
		run(t, "nft", "flush ruleset")
	})
	rules := func() string {
		saved := run(t, "iptables-nft-save") + run(t, "iptables-legacy-save") + run(t, "nft", "list table inet users")
		return regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`).ReplaceAllString(saved, "")
	}
	before := rules()
	f := open(t, "hoy-hoy0")
	lan.Must(t, f.Sync([]Network{hoy0, hoy1}, published))
	lan.Must(t, f.RemoveNetwork("hoy1"))
	lan.Must(t, f.Unpublish(published[:2]...))
	lan.Must(t, f.Publish(published[:2]...))
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	if got := w.Far.Ask("tcp", "192.0.2.1:8080", lan.Silence); got != "" {
		t.Errorf("a user's rule against forwarding for %s is passed: %s", "198.51.100.9", got)
	}
	if after := rules(); after != before {
		t.Errorf("the users' rules were\n%s\nand are\n%s", before, after)
	}
	lan.Must(t, f.Remove())
	if after := rules(); after != before {
		t.Errorf("the users' rules were\n%s\nand without ours are\n%s", before, after)
	}
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// TestSyncBesideOthers: the table becomes what it should be whatever somebody does to it
// meanwhile, or has done to its chains.
func TestSyncBesideOthers(t *testing.T) {
	_, f := begin(t, []Network{hoy0, hoy1}, published...)
	before := list(t, "hoy-hoy0")
	run(t, "nft", "chain inet hoy-hoy0 forward { policy drop; }; add rule inet hoy-hoy0 pass drop; add chain inet hoy-hoy0 mine")
	lan.Must(t, f.Sync([]Network{hoy0, hoy1}, published))
	if after := list(t, "hoy-hoy0"); sorted(after) != sorted(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	stop := make(chan struct{})
	var somebody sync.WaitGroup
	somebody.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				run(t, "nft", "add table inet hoy-hoy0; delete table inet hoy-hoy0")
			}
		}
	})
	for range 40 {
		if err := f.Sync([]Network{hoy0, hoy1}, published); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	somebody.Wait()
	lan.Must(t, f.Sync([]Network{hoy0, hoy1}, published))
	if after := list(t, "hoy-hoy0"); sorted(after) != sorted(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestFlushed: a table that somebody deletes ("systemctl reload nftables" flushes all)
// is written anew at once where it is watched, otherwise by the next change.
func TestFlushed(t *testing.T) {
	w, f := begin(t, []Network{hoy0, hoy1}, published[:4]...)
	before := list(t, "hoy-hoy0")
	run(t, "nft", "flush ruleset")
	lan.Must(t, f.Publish(published[4:]...))
	lan.Must(t, f.Unpublish(published[4:]...))
	if after := list(t, "hoy-hoy0"); sorted(after) != sorted(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Watch(ctx) }()
	for range 3 {
		run(t, "nft", "flush ruleset")
		eventually.True(t, "the table comes back", func() bool { return nft.Exists("hoy-hoy0") })
	}
	w.Peer.Expect(t, "192.0.2.1:8080", "web sees 192.0.2.2")
	stop()
	lan.Must(t, <-ended)
	if after := list(t, "hoy-hoy0"); sorted(after) != sorted(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
