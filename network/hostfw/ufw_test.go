package hostfw

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"hoy/test/lan"
	"hoy/test/rootful"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TestUFW: whoever ufw lets reach a port of the host reaches it when it is published,
// and nobody else, from the LAN, from behind a router and from the host, as rules come
// and go and are loaded anew.
func TestUFW(t *testing.T) {
	rootful.Check(t)
	rootful.Own(t, "/etc/ufw", "/etc/default/ufw")
	before, err := os.ReadFile("/etc/ufw/before.rules")
	lan.Must(t, err)
	w := lan.New(t)
	ufw := func(args ...string) { t.Helper(); run(t, "ufw", args...) }
	t.Cleanup(func() { ufw("--force", "disable"); run(t, "nft", "flush", "ruleset") })
	e := start(t)

	e.becomes(w, "tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080", "udp far 192.0.2.1:8080")

	ufw("--force", "enable")
	closed := []string{
		"tcp peer 192.0.2.1:8080 no", "udp peer 192.0.2.1:8080 no", "tcp peer [2001:db8:2::1]:8080 no",
		"udp peer [2001:db8:2::1]:8080 no", "tcp far 192.0.2.1:8080 no",
		// The host itself is let in, and containers get out.
		"tcp host 192.0.2.1:8080", "tcp host 127.0.0.1:8080", "tcp host [2001:db8:2::1]:8080", "udp host 192.0.2.1:8080",
		"tcp web 192.0.2.2:80", "udp web 192.0.2.2:80", "tcp web [2001:db8:2::2]:80", "tcp db 172.17.0.2:80",
		// Containers are peers of the host like others.
		"tcp db 192.0.2.1:8080 no",
	}
	e.becomes(w, closed...)

	ufw("allow", "8080/tcp")
	open := []string{
		"tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080", "tcp far 192.0.2.1:8080", "tcp db 192.0.2.1:8080",
		"udp peer 192.0.2.1:8080 no", "tcp peer 192.0.2.1:8081 no", "tcp peer [2001:db8:2::1]:8081 no",
	}
	e.becomes(w, open...)
	ufw("reload")
	e.becomes(w, open...)
	e.becomes(w, "tcp web 192.0.2.2:80", "tcp web [2001:db8:2::2]:80")

	ufw("delete", "allow", "8080/tcp")
	e.becomes(w, closed...)

	ufw("allow", "from", "192.0.2.2", "to", "any", "port", "8080:8081", "proto", "udp")
	ufw("insert", "1", "deny", "from", "192.0.2.2", "to", "any", "port", "8081")
	e.becomes(w, "udp peer 192.0.2.1:8080", "udp far 192.0.2.1:8080 no", "tcp peer 192.0.2.1:8080 no",
		"udp peer 192.0.2.1:8081 no", "udp peer [2001:db8:2::1]:8080 no")

	ufw("limit", "8081/tcp")
	e.becomes(w, "tcp far 192.0.2.1:8081")
	var in []bool
	for range 12 { // of which ufw lets five in at once
		in = append(in, w.Far.Ask("tcp", "192.0.2.1:8081", lan.Silence) != "")
	}
	if in[11] || !slices.Contains(in, true) {
		t.Errorf("ufw limits how often somebody comes, and of 12 times these led in: %v", in)
	}
	e.becomes(w, "tcp far [2001:db8:2::1]:8081")
	ufw("delete", "limit", "8081/tcp")

	ufw("default", "allow", "incoming")
	ufw("deny", "in", "on", "lan0", "to", "any", "port", "8080", "proto", "tcp")
	e.becomes(w, "tcp peer 192.0.2.1:8081 no", "tcp far 192.0.2.1:8081", "tcp peer [2001:db8:2::1]:8081",
		"tcp peer 192.0.2.1:8080 no", "tcp far [2001:db8:2::1]:8080 no", "tcp host 192.0.2.1:8080")

	ufw("--force", "disable")
	e.becomes(w, "tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080", "tcp far 192.0.2.1:8080", "tcp web 192.0.2.2:80")

	lan.Must(t, Host{}.Unpass(table))
	after, err := os.ReadFile("/etc/ufw/before.rules")
	lan.Must(t, err)
	if string(after) != string(before) {
		t.Errorf("before.rules is left as\n%s", after)
	}
}

// TestUnknown: of a firewall that hoy cannot read the rule is named that it needs, and
// with that rule containers pass it.
func TestUnknown(t *testing.T) {
	rootful.Check(t)
	rootful.Own(t, "/etc/ufw")
	w := lan.New(t)
	e := start(t)
	run(t, "iptables-nft", "-P", "FORWARD", "DROP")
	run(t, "nft", "add table inet mine; add chain inet mine in { type filter hook input priority 0; policy drop; }; add rule inet mine in iif lo accept")
	t.Cleanup(func() { run(t, "nft", "flush", "ruleset") })
	e.becomes(w, "tcp peer 192.0.2.1:8080 no", "tcp web 192.0.2.2:80 no")
	warnings, err := Host{}.Pass(table)
	lan.Must(t, err)
	if len(warnings) != 2 || !strings.Contains(warnings[0], "inet mine in") {
		t.Fatalf("the warnings are %q", warnings)
	}
	_, rule, _ := strings.Cut(warnings[1], `"`)
	run(t, "sh", "-c", strings.Replace(strings.TrimSuffix(rule, `"`), "iptables", "iptables-nft", 1))
	run(t, "nft", "flush chain inet mine in")
	run(t, "nft", "chain inet mine in { policy accept; }")
	e.becomes(w, "tcp peer 192.0.2.1:8080", "tcp web 192.0.2.2:80")
}
