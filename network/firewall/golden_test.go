package firewall

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoy/test/lan"
	"hoy/test/rootful"
)

var update = flag.Bool("update", false, "write the golden documents anew")

func prefixOf(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func port(proto, host, link, container string) Port {
	return Port{Proto: proto, Host: netip.MustParseAddrPort(host), Link: link, Container: netip.MustParseAddrPort(container)}
}

// defaultNetwork is what an engine has at first.
var defaultNetwork = Network{Name: "bridge", Link: "hoy0", Subnet: prefixOf("172.17.0.0/16")}

func addresses(first, last string) AddressRange {
	return AddressRange{netip.MustParseAddr(first), netip.MustParseAddr(last)}
}

var (
	robots = &AddressSet{Name: "ipset robots", MACs: []net.HardwareAddr{{2, 0, 0, 0, 0, 9}, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 9}}}
	office = &AddressSet{Name: "ipset office", Ranges: []AddressRange{
		addresses("2001:db8::", "2001:db8::ffff"), addresses("2001:db8::8000", "2001:db8::1:ffff"), addresses("2001:db8::2:0", "2001:db8::2:0"),
		addresses("ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), addresses("2001:db8:1::7", "2001:db8:1::9"),
	}}
)

// scenarios are the documents in testdata: what the rules look like, and so what they
// mean. Each is read as "nft list table" prints the table.
var scenarios = []struct {
	name     string
	networks []Network
	ports    []Port
	policy   Policy
}{
	{"default", []Network{defaultNetwork}, nil, Policy{}},
	{"published", []Network{
		{Name: "bridge", Link: "hoy0", Subnet: prefixOf("172.17.0.0/16"), Subnet6: prefixOf("fd00:17::/64")},
	}, []Port{
		port("tcp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"),
		port("tcp", "[::]:8080", "hoy0", "[fd00:17::2]:80"),
		port("udp", "0.0.0.0:53", "hoy0", "172.17.0.3:5353"),
		port("tcp", "127.0.0.1:5432", "hoy0", "172.17.0.4:5432"),
		port("sctp", "[2001:db8::1]:3868", "hoy0", "[fd00:17::5]:3868"),
	}, Policy{}},
	{"internal", []Network{defaultNetwork,
		{Name: "backend", Link: "br-backend", Subnet: prefixOf("10.1.0.0/24"), Subnet6: prefixOf("fd00:1::/64"), Internal: true},
	}, nil, Policy{}},
	{"apart", []Network{
		{Name: "tenants", Link: "br-tenants", Subnet: prefixOf("10.2.0.0/24"), Subnet6: prefixOf("fd00:2::/64"), NoICC: true, Allowed: []Allow{
			{netip.MustParseAddr("10.2.0.2"), netip.MustParseAddr("10.2.0.3"), "tcp", 5432},
		}},
	}, []Port{port("tcp", "0.0.0.0:80", "br-tenants", "10.2.0.2:80")}, Policy{}},
	{"modes", []Network{
		{Name: "lab", Link: "br-lab", Subnet: prefixOf("10.3.0.0/24"), Subnet6: prefixOf("2001:db8:3::/64"), Mode: NATUnprotected, Mode6: Routed, Source: netip.MustParseAddr("192.0.2.7")},
		{Name: "plain", Link: "br-plain", Subnet: prefixOf("10.4.0.0/24"), NoMasq: true, Trusted: []string{"wg0"}, Admit: AdmitMark{2, 3}},
		{Name: "direct", Link: "br-direct", Subnet: prefixOf("10.6.0.0/24"), Direct: true},
	}, []Port{
		port("tcp", "0.0.0.0:8082", "br-direct", "10.6.0.2:82"),
		port("tcp", "0.0.0.0:80", "br-lab", "10.3.0.2:80"),
		port("tcp", "[::]:0", "br-lab", "[2001:db8:3::2]:80"),
		port("tcp", "0.0.0.0:8081", "br-plain", "10.4.0.2:81"),
	}, Policy{}},
	{"policy", []Network{defaultNetwork,
		{Name: "legacy", Link: "br-legacy", Subnet: prefixOf("10.5.0.0/24"), Unguarded: true},
	}, []Port{
		port("tcp", "0.0.0.0:80", "hoy0", "172.17.0.2:80"),
		port("tcp", "0.0.0.0:8443", "br-legacy", "10.5.0.2:443"),
	}, Policy{Firewall: "example", Refuse: true, Rules: []PolicyRule{
		{Comment: "lo", In: "lo"},
		{Comment: "80/tcp", Proto: "tcp", First: 80, Last: 80},
		{Comment: "from the office, but not its guests", From: prefixOf("198.51.100.128/25"), Refuse: true},
		{Comment: "from the office", From: prefixOf("198.51.100.0/24"), Proto: "udp", First: 6000, Last: 6100},
		{Comment: "limited", To: prefixOf("0.0.0.0/0"), Proto: "tcp", First: 22, Last: 22, Limited: true},
		{Comment: "limited", To: prefixOf("::/0"), Proto: "tcp", First: 22, Last: 22, Limited: true},
		{Comment: "not from the robots", FromSet: robots, Refuse: true},
		{Comment: "only from the office", FromSet: office, Not: true, Proto: "tcp", First: 81, Last: 81, Refuse: true},
		{Comment: "eth1", In: "eth1", Zone: &Zone{Name: "dmz", Refuse: true, Rules: []PolicyRule{{Comment: "https", Proto: "tcp", First: 443, Last: 443}}}},
	}}},
}

func open(t testing.TB, table string) *Firewall {
	t.Helper()
	f, err := Open(Options{Table: table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// list is what the kernel holds.
func list(t testing.TB, table string) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "table", "inet", table).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestGolden(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			rootful.Check(t)
			for _, n := range s.networks {
				lan.NewBridge(t, n.Link)
			}
			f := open(t, "hoy-hoy0")
			if err := f.SetPolicy(s.policy); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(s.networks, s.ports); err != nil {
				t.Fatal(err)
			}
			got := list(t, "hoy-hoy0")
			path := filepath.Join("testdata", s.name+".nft")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the table is not the document %s (-update writes it):\n%s", path, got)
			}
		})
	}
}

// TestReplaced: whatever the table was, Sync makes it what it shall be: one scenario
// after another in the same table, and one that another version might have left.
func TestReplaced(t *testing.T) {
	rootful.Check(t)
	for _, s := range scenarios {
		for _, n := range s.networks {
			if n.Link != "hoy0" {
				lan.NewBridge(t, n.Link)
			}
		}
	}
	lan.NewBridge(t, "hoy0")
	const other = `delete table inet hoy-hoy0
	table inet hoy-hoy0 {
		set bridges { type ipv4_addr; elements = { 192.0.2.1 }; }
		set former { type ifname; elements = { "hoy0" }; }
		map into { type ifname : verdict; comment "what a packet into a network meets"; elements = { "hoy0" : jump pass }; }
		map published4 { type inet_proto . inet_service : ipv4_addr; }
		chain pass { ip saddr @bridges accept; }
		chain forward { iifname @former goto pass; }
		chain guard { type filter hook prerouting priority 7; ip saddr { 192.0.2.1, 192.0.2.3 } drop; }
		chain old { type nat hook output priority 9; jump forward; }
	}`
	f := open(t, "hoy-hoy0")
	for range 2 {
		for _, s := range scenarios {
			lan.Must(t, f.SetPolicy(s.policy))
			lan.Must(t, f.Sync(s.networks, s.ports))
			want, err := os.ReadFile(filepath.Join("testdata", s.name+".nft"))
			lan.Must(t, err)
			if got := list(t, "hoy-hoy0"); sorted(got) != sorted(string(want)) {
				t.Errorf("%s, in the place of another:\n%s", s.name, got)
			}
		}
		run(t, "nft", other)
	}
}

// TestLinkGone: a bridge that somebody has deleted does not keep the rest from being
// written, as the host's new policy.
func TestLinkGone(t *testing.T) {
	rootful.Check(t)
	lan.NewBridge(t, "hoy0")
	run(t, "ip", "link", "add", "hoy1", "type", "bridge")
	f := open(t, "hoy-hoy0")
	apart := hoy1
	apart.NoICC = true
	lan.Must(t, f.Sync([]Network{hoy0, apart}, published))
	before := list(t, "hoy-hoy0")
	run(t, "ip", "link", "del", "hoy1")
	run(t, "nft", "delete table inet hoy-hoy0")
	lan.Must(t, f.SetPolicy(Policy{Firewall: "a test's", Refuse: true}))
	lan.Must(t, f.SetPolicy(Policy{}))
	if after := list(t, "hoy-hoy0"); sorted(after) != sorted(before) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestLimitsGoOn: who has come too often stays so when the table is written anew.
func TestLimitsGoOn(t *testing.T) {
	w, f := begin(t, []Network{hoy0}, published...)
	p := Policy{Firewall: "a test's", Rules: []PolicyRule{{To: prefixOf("0.0.0.0/0"), Proto: "tcp", First: 8080, Last: 8080, Limited: true}}}
	lan.Must(t, f.SetPolicy(p))
	ask := func(h lan.Host, want string) {
		t.Helper()
		if got := h.Ask("tcp", "192.0.2.1:8080", lan.Patience); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for range limitBurst {
		ask(w.Peer, "web sees 192.0.2.2")
	}
	ask(w.Peer, "")
	p.Rules = append(p.Rules, PolicyRule{Proto: "sctp", Refuse: true})
	lan.Must(t, f.SetPolicy(p))
	lan.Must(t, f.Sync([]Network{hoy0}, published))
	ask(w.Peer, "")
	ask(w.Far, "web sees 198.51.100.9")
}

// TestPiecewise: what is added a piece at a time is what Sync writes at once, and what
// is removed leaves nothing.
func TestPiecewise(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			rootful.Check(t)
			for _, n := range s.networks {
				lan.NewBridge(t, n.Link)
			}
			f := open(t, "hoy-hoy0")
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			check(f.Sync(nil, nil))
			empty := list(t, "hoy-hoy0")
			for range 2 { // the second time replaces
				for _, n := range s.networks {
					check(f.AddNetwork(n))
				}
				for _, p := range s.ports {
					check(f.Publish(p))
				}
			}
			pieces := list(t, "hoy-hoy0")
			check(f.Sync(s.networks, s.ports))
			if whole := list(t, "hoy-hoy0"); sorted(whole) != sorted(pieces) {
				t.Errorf("piece by piece:\n%s\nat once:\n%s", pieces, whole)
			}
			check(f.Unpublish(s.ports...))
			check(f.Unpublish(s.ports...))
			for _, n := range s.networks {
				check(f.RemoveNetwork(n.Link))
				check(f.RemoveNetwork(n.Link))
			}
			if got := list(t, "hoy-hoy0"); got != empty {
				t.Errorf("after all is removed:\n%s\nat first:\n%s", got, empty)
			}
		})
	}
}

// sorted is the table with its lines in order: where a chain stands, and in which order
// a map's elements are listed, means nothing.
func sorted(table string) string {
	lines := strings.FieldsFunc(table, func(r rune) bool { return r == '\n' || r == ',' })
	for i, l := range lines {
		lines[i] = strings.Trim(strings.TrimPrefix(strings.TrimSpace(l), "elements = {"), " }")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
