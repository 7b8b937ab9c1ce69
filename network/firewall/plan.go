package firewall

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"hoy/linux/nft"
)

// The sets and maps. Their elements are what changes as containers come and go.
var (
	bridges = nft.Set{Name: "bridges", Key: nft.IfName, Comment: "the engine's bridges"}
	into    = nft.Set{Name: "into", Key: nft.IfName, Data: nft.Verdicts, Comment: "what a packet into a network meets"}
	outOf   = nft.Set{Name: "out-of", Key: nft.IfName, Data: nft.Verdicts, Comment: "what a packet out of an internal network meets"}
	source  = nft.Set{Name: "source", Key: nft.IfName, Data: nft.Verdicts, Comment: "which source address a packet from a network gets"}

	published4 = nft.Set{Name: "published4", Key: nft.Concat(nft.Proto, nft.Service), Data: nft.Concat(nft.IPv4, nft.Service),
		Comment: "ports published at every IPv4 address of the host"}
	published4At = nft.Set{Name: "published4-at", Key: nft.Concat(nft.IPv4, nft.Proto, nft.Service), Data: nft.Concat(nft.IPv4, nft.Service),
		Comment: "ports published at one IPv4 address of the host"}
	published6 = nft.Set{Name: "published6", Key: nft.Concat(nft.Proto, nft.Service), Data: nft.Concat(nft.IPv6, nft.Service),
		Comment: "ports published at every IPv6 address of the host"}
	published6At = nft.Set{Name: "published6-at", Key: nft.Concat(nft.IPv6, nft.Proto, nft.Service), Data: nft.Concat(nft.IPv6, nft.Service),
		Comment: "ports published at one IPv6 address of the host"}
	unguarded = nft.Set{Name: "unguarded", Key: nft.Concat(nft.Proto, nft.Service), Comment: "ports of the host that its firewall is not asked about"}

	open4 = nft.Set{Name: "open4", Key: nft.Concat(nft.IPv4, nft.Proto, nft.Service), Comment: "ports of containers that are routed to"}
	open6 = nft.Set{Name: "open6", Key: nft.Concat(nft.IPv6, nft.Proto, nft.Service), Comment: "ports of containers that are routed to"}

	limited4 = nft.Set{Name: "limited4", Key: nft.Concat(nft.IPv4, nft.Service), Counts: time.Minute, Comment: "who comes how often to a port that is limited"}
	limited6 = nft.Set{Name: "limited6", Key: nft.Concat(nft.IPv6, nft.Service), Counts: time.Minute, Comment: "who comes how often to a port that is limited"}

	links4 = nft.Set{Name: "links4", Key: nft.Concat(nft.IPv4, nft.IPv4, nft.Proto, nft.Service), Comment: "containers that reach each other on a network where others do not"}
	links6 = nft.Set{Name: "links6", Key: nft.Concat(nft.IPv6, nft.IPv6, nft.Proto, nft.Service), Comment: "containers that reach each other on a network where others do not"}
)

var (
	loopback  = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
	linkLocal = netip.MustParsePrefix("fe80::/10")
)

// known is the chain of packets of connections that were let through before.
const known = "known"

// pass is the chain of packets that go to or from a container with our consent. It
// gives them Mark.
const pass = "pass"

// Mark is the bit of a packet's mark that says that we let it be forwarded. A firewall
// of the host whose forwarding policy is to drop lets such packets pass by one rule,
// which stays the same however networks come and go (package hostfw). Others on a host
// take other bits: netavark and the CNI plugin portmap 0x2000, by which they masquerade,
// kube-proxy 0x4000 and 0x8000, Tailscale 0xff0000, Calico the upper half, Cilium 0xf00.
const Mark = 0x1000

// Group is the group of links (ip-link(8)) that engines put the bridges into which they
// make: the next packets of a connection are told from others by it, for less than a look
// into the set of bridges.
const Group = 0x686f79

// plan is the whole table, a function of the state alone.
func plan(name string, s state, p Policy) nft.Table {
	t := nft.Table{Name: name, Chains: baseChains()}
	elements := map[string][]nft.Element{}
	add := func(s nft.Set, e ...nft.Element) { elements[s.Name] = append(elements[s.Name], e...) }
	for _, link := range slices.Sorted(maps.Keys(s.networks)) {
		n := s.networks[link]
		t.Chains = append(t.Chains, networkChains(n)...)
		eachElement(n, add)
	}
	for _, k := range s.sortedPorts() {
		for _, m := range s.places(s.ports[k]) {
			add(m.set, m.element)
		}
	}
	t.Chains = append(t.Chains, p.chains()...)
	t.Sets = p.nftSets()
	if p.limits() {
		t.Sets = append(t.Sets, limited4, limited6)
	}
	for _, set := range []nft.Set{bridges, into, outOf, source, published4, published4At, published6, published6At, unguarded, open4, open6, links4, links6} {
		set.Elements = elements[set.Name]
		t.Sets = append(t.Sets, set)
	}
	return t
}

// baseChains are those that packets come to by themselves.
func baseChains() []nft.Chain {
	return []nft.Chain{
		{Name: "guard", Hook: nft.RawPrerouting, Rules: []nft.Rule{
			// The bridges have route_localnet, for published ports at 127.0.0.1. Without
			// these rules containers would reach what listens there (CVE-2020-8558).
			nft.NewRule("containers do not pose as the host", nft.From(loopback), nft.In(nft.InLink(), bridges.Name), nft.Drop()),
			nft.NewRule("containers do not reach what listens at 127.0.0.1 of the host", nft.To(loopback), nft.In(nft.InLink(), bridges.Name), nft.Drop()),
		}},
		{Name: "prerouting", Hook: nft.NATPrerouting, Rules: []nft.Rule{
			nft.NewRule("a port published at 127.0.0.1 is for the host alone", nft.To(loopback), nft.Return()),
			nft.NewRule("the kernel does not forward for link-local peers", nft.From(linkLocal), nft.Return()),
			nft.NewRule("only the host's own addresses have published ports", nft.NotToHost(), nft.Return()),
			nft.NewRule("does the host's firewall let it in?", nft.Jump(admission)),
			nft.NewRule("to its container", nft.Goto("published")),
		}},
		{Name: "output", Hook: nft.NATOutput, Rules: []nft.Rule{
			nft.NewRule("the kernel does not route ::1: the keeper answers there", nft.To(loopback6), nft.Return()),
			nft.NewRule("a container cannot answer a link-local address: the keeper does", nft.From(linkLocal), nft.Return()),
			nft.NewRule("only the host's own addresses have published ports", nft.NotToHost(), nft.Return()),
			nft.NewRule("to its container", nft.Goto("published")),
		}},
		{Name: "published", Rules: []nft.Rule{
			{Do: []nft.Expr{nft.DNAT(nft.IPv4, nft.PublishedAt(nft.IPv4), published4At.Name)}},
			{Do: []nft.Expr{nft.DNAT(nft.IPv4, nft.Published(nft.IPv4), published4.Name)}},
			{Do: []nft.Expr{nft.DNAT(nft.IPv6, nft.PublishedAt(nft.IPv6), published6At.Name)}},
			{Do: []nft.Expr{nft.DNAT(nft.IPv6, nft.Published(nft.IPv6), published6.Name)}},
		}},
		{Name: "forward", Hook: nft.Forward, Rules: []nft.Rule{
			nft.NewRule("what was let through before", nft.Established(), nft.Goto(known)),
			{Do: []nft.Expr{nft.VMap(nft.InLink(), outOf.Name)}},
			{Do: []nft.Expr{nft.VMap(nft.OutLink(), into.Name)}},
			nft.NewRule("what leaves a network", nft.In(nft.InLink(), bridges.Name), nft.Goto(pass)),
		}},
		{Name: known, Rules: []nft.Rule{
			nft.NewRule("to a container", nft.OutGroup(Group), nft.SetMark(Mark), nft.Accept()),
			nft.NewRule("from a container", nft.InGroup(Group), nft.SetMark(Mark), nft.Accept()),
			nft.NewRule("to a container, on a bridge of somebody's", nft.In(nft.OutLink(), bridges.Name), nft.Goto(pass)),
			nft.NewRule("from a container, on a bridge of somebody's", nft.In(nft.InLink(), bridges.Name), nft.Goto(pass)),
			nft.NewRule("nothing of ours", nft.Accept()),
		}},
		{Name: pass, Rules: []nft.Rule{
			nft.NewRule("passed: a firewall that refuses what it does not know can know it by this mark", nft.SetMark(Mark), nft.Accept()),
		}},
		{Name: "postrouting", Hook: nft.NATPostroute, Rules: []nft.Rule{
			nft.NewRule("the host's connections by 127.0.0.1: an answer must find back", nft.From(loopback), nft.In(nft.OutLink(), bridges.Name), nft.Masquerade()),
			{Do: []nft.Expr{nft.VMap(nft.InLink(), source.Name)}},
			// What a bridge switches between its ports has no link that it comes by.
			{Do: []nft.Expr{nft.VMap(nft.OutLink(), source.Name)}},
		}},
	}
}
