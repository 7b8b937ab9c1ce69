package network

import (
	"net/netip"
	"testing"
)

func TestResolvConf(t *testing.T) {
	addr := netip.MustParseAddr
	const host = "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 edns0\n"
	for _, tc := range []struct {
		name     string
		conf     ResolvConf
		loopback bool
		want     string
	}{
		{"host's own", ResolvConf{}, true, "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{"without loopback", ResolvConf{}, false, "nameserver 192.0.2.1\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{"servers given", ResolvConf{Servers: []netip.Addr{addr("127.0.0.1")}}, false, "nameserver 127.0.0.1\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{"no search", ResolvConf{Search: []string{"."}}, false, "nameserver 192.0.2.1\noptions ndots:2 edns0\n"},
		{"all given", ResolvConf{[]netip.Addr{addr("::1")}, []string{"x"}, []string{"rotate"}}, false, "nameserver ::1\nsearch x\noptions rotate\n"},
	} {
		if got := string(tc.conf.Build([]byte(host), tc.loopback)); got != tc.want {
			t.Errorf("%s: got\n%swant\n%s", tc.name, got, tc.want)
		}
	}
}

func TestHostResolvPrefersReachableServers(t *testing.T) {
	stub, real := "nameserver 127.0.0.53\n", "nameserver 192.0.2.1\n"
	for _, tc := range []struct{ etc, systemd, want string }{
		{real, "", real},
		{stub, real, real},
		{stub, "", stub},
		{"", "", ""},
	} {
		got := hostResolv(func(p string) []byte {
			if p == hostResolvConf[0] {
				return []byte(tc.etc)
			}
			return []byte(tc.systemd)
		})
		if string(got) != tc.want {
			t.Errorf("etc %q, systemd %q: got %q", tc.etc, tc.systemd, got)
		}
	}
}

// TestReachableServers are those that a container has on a network without names.
func TestReachableServers(t *testing.T) {
	addr := netip.MustParseAddr
	const mixed = "nameserver 127.0.0.1\nnameserver 2001:db8::53\nnameserver 192.0.2.1\n"
	for _, tc := range []struct {
		name, host string
		conf       ResolvConf
		ipv6       bool
		want       string
	}{
		{"IPv4 alone", mixed, ResolvConf{}, false, "nameserver 192.0.2.1\n"},
		{"both", mixed, ResolvConf{}, true, "nameserver 2001:db8::53\nnameserver 192.0.2.1\n"},
		{"a program on the host", "nameserver 127.0.0.1\nsearch lan\n", ResolvConf{}, false, "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan\n"},
		{"servers by IPv6 alone", "nameserver 2001:db8::53\n", ResolvConf{}, false, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{"no file", "", ResolvConf{}, true, "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n"},
		{"given", "", ResolvConf{Servers: []netip.Addr{addr("127.0.0.1"), addr("::1")}}, false, "nameserver 127.0.0.1\nnameserver ::1\n"},
	} {
		if got := string(tc.conf.isolated([]byte(tc.host), tc.ipv6)); got != tc.want {
			t.Errorf("%s: got\n%swant\n%s", tc.name, got, tc.want)
		}
	}
}

func TestHosts(t *testing.T) {
	got := string(Hosts([]Host{{netip.MustParseAddr("172.17.0.2"), []string{"web.example", "web"}}}, false))
	want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n172.17.0.2\tweb.example web\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nsearch x\noptions a b\n"))
	f.Add([]byte("nameserver\nsearch\n\x00domain a"))
	f.Fuzz(func(t *testing.T, host []byte) {
		// What was built is read back as itself.
		once := ResolvConf{}.Build(host, true)
		if twice := (ResolvConf{}).Build(once, true); string(twice) != string(once) {
			t.Errorf("built %q, from that %q", once, twice)
		}
	})
}
