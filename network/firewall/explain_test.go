package firewall

import (
	"fmt"
	"slices"
	"testing"
)

// TestExplain: who reaches a port and why, without a kernel.
func TestExplain(t *testing.T) {
	policy := Policy{Firewall: "ufw", Refuse: true, Rules: []PolicyRule{
		{Comment: "ufw: before.rules", In: "lo"},
		{Comment: "ufw deny from 198.51.100.7", From: prefixOf("198.51.100.7/32"), Refuse: true},
		{Comment: "not from the robots", FromSet: robots, Refuse: true},
		{Comment: "only from the office", FromSet: office, Not: true, Refuse: true},
		{Comment: "ufw allow 80/tcp", Proto: "tcp", First: 80, Last: 80, To: prefixOf("0.0.0.0/0")},
		{Comment: "ufw allow 443/tcp", Proto: "tcp", First: 443, Last: 443, From: prefixOf("10.0.0.0/8")},
		{In: "eth1", Zone: &Zone{Name: "dmz", Refuse: true, Rules: []PolicyRule{{Comment: "dmz: port 443/tcp", Proto: "tcp", First: 443, Last: 443}}}},
		{In: "eth2", Zone: &Zone{Name: "home"}},
	}}
	internal, unguarded, routed := defaultNetwork, defaultNetwork, defaultNetwork
	internal.Internal, unguarded.Unguarded, routed.Mode = true, true, Routed
	for _, c := range []struct {
		network Network
		policy  Policy
		port    Port
		want    []string
	}{
		{defaultNetwork, Policy{}, port("tcp", "0.0.0.0:80", "hoy0", "172.17.0.2:80"), []string{"everybody true: the host has no firewall that hoy knows"}},
		{internal, policy, port("tcp", "0.0.0.0:80", "hoy0", "172.17.0.2:80"), []string{"everybody false: network bridge is internal"}},
		{unguarded, policy, port("tcp", "0.0.0.0:81", "hoy0", "172.17.0.2:80"), []string{"everybody true: network bridge does not ask the host's firewall (docker's behaviour)"}},
		{routed, policy, port("tcp", "0.0.0.0:80", "hoy0", "172.17.0.2:80"), []string{"everybody who has a route to 172.17.0.2:80 true: network bridge is routed"}},
		{defaultNetwork, policy, port("tcp", "127.0.0.1:80", "hoy0", "172.17.0.2:80"), []string{"this host true: it is published at 127.0.0.1", "everybody else false: that address is the host's own"}},
		{defaultNetwork, policy, port("tcp", "0.0.0.0:80", "hoy0", "172.17.0.2:80"), []string{
			"this host true: its own connections are not asked about",
			"198.51.100.7/32 false: ufw deny from 198.51.100.7",
			"ipset robots false: not from the robots",
			"everybody true: ufw allow 80/tcp",
		}},
		{defaultNetwork, policy, port("tcp", "0.0.0.0:443", "hoy0", "172.17.0.2:443"), []string{
			"this host true: its own connections are not asked about",
			"198.51.100.7/32 false: ufw deny from 198.51.100.7",
			"ipset robots false: not from the robots",
			"10.0.0.0/8 true: ufw allow 443/tcp",
			"by eth1 true: dmz: port 443/tcp",
			"by eth2 true: zone home: by default",
			"everybody else false: ufw: by default",
		}},
		{defaultNetwork, policy, port("udp", "[::]:80", "hoy0", "[fd00::2]:80"), []string{
			"this host true: its own connections are not asked about",
			"ipset robots false: not from the robots",
			"all but ipset office false: only from the office",
			"by eth1 false: zone dmz: by default",
			"by eth2 true: zone home: by default",
			"everybody else false: ufw: by default",
		}},
	} {
		f, err := Open(Options{Table: "hoy-test"})
		if err != nil {
			t.Fatal(err)
		}
		f.networks, f.policy = map[string]Network{"hoy0": c.network}, c.policy
		var got []string
		for _, a := range f.Explain(c.port) {
			got = append(got, fmt.Sprintf("%s %v: %s", a.Who, a.Reach, a.Why))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.port.Host, got, c.want)
		}
	}
}
