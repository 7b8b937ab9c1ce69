package firewall

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"hoy/linux/nft"
)

// The names of a network's chains, by its link.
func intoChain(link string) string   { return "into-" + link }
func outOfChain(link string) string  { return "out-of-" + link }
func sourceChain(link string) string { return "source-" + link }

// networkChains are the chains of one network.
func networkChains(n Network) []nft.Chain {
	chains := []nft.Chain{{Name: intoChain(n.Link), Rules: intoRules(n)}}
	if n.Internal {
		return append(chains, nft.Chain{Name: outOfChain(n.Link), Rules: []nft.Rule{
			nft.NewRule(n.Name+": internal, nothing leaves it", nft.OutLinkIsNot(n.Link), nft.Drop()),
		}})
	}
	return append(chains, nft.Chain{Name: sourceChain(n.Link), Rules: sourceRules(n)})
}

// intoRules say who reaches the containers of a network. The established have passed
// already. With NoICC the bridge hands what it switches to these rules too (prepare).
func intoRules(n Network) []nft.Rule {
	var rules []nft.Rule
	add := func(comment string, do ...nft.Expr) {
		rules = append(rules, nft.NewRule(n.Name+": "+comment, do...))
	}
	if n.NoICC {
		add("linked containers reach each other", nft.In(nft.Linked(nft.IPv4), links4.Name), nft.Goto(pass))
		if n.Subnet6.IsValid() {
			add("linked containers reach each other", nft.In(nft.Linked(nft.IPv6), links6.Name), nft.Goto(pass))
			for _, kind := range nft.NeighbourDiscovery {
				add("neighbour discovery", nft.InLinkIs(n.Link), nft.ICMPv6Is(kind), nft.Goto(pass))
			}
		}
	} else {
		add("containers reach each other", nft.InLinkIs(n.Link), nft.Goto(pass))
	}
	if n.Internal {
		add("internal, nobody else comes in", nft.Drop())
		return rules
	}
	add("published ports", nft.Diverted(), nft.Goto(pass))
	if n.NoICC {
		add("containers do not reach each other", nft.InLinkIs(n.Link), nft.Drop())
	}
	if n.Admit.Mask != 0 {
		add("let in by its mark", nft.MarkIs(n.Admit.Value, n.Admit.Mask), nft.Goto(pass))
	}
	for _, l := range n.Trusted {
		if n.Subnet.IsValid() {
			add("trusted link, published ports", nft.InLinkIs(l), nft.In(nft.PublishedAt(nft.IPv4), open4.Name), nft.Goto(pass))
		}
		if n.Subnet6.IsValid() {
			add("trusted link, published ports", nft.InLinkIs(l), nft.In(nft.PublishedAt(nft.IPv6), open6.Name), nft.Goto(pass))
		}
	}
	if n.Direct && n.Subnet.IsValid() {
		add("published ports, directly", nft.In(nft.PublishedAt(nft.IPv4), open4.Name), nft.Goto(pass))
	}
	if n.Direct && n.Subnet6.IsValid() {
		add("published ports, directly", nft.In(nft.PublishedAt(nft.IPv6), open6.Name), nft.Goto(pass))
	}
	if n.Subnet.IsValid() {
		rules = append(rules, modeRules(n, nft.IPv4, n.Mode)...)
	}
	if n.Subnet6.IsValid() {
		rules = append(rules, modeRules(n, nft.IPv6, n.Mode6)...)
	}
	add("nobody else", nft.Drop())
	return rules
}

// modeRules let in what a gateway mode lets in beside published ports of the host.
func modeRules(n Network, family nft.Type, m Mode) []nft.Rule {
	icmp, open := byte(unix.IPPROTO_ICMP), open4.Name
	if family.Name == nft.IPv6.Name {
		icmp, open = unix.IPPROTO_ICMPV6, open6.Name
	}
	switch m {
	case NATUnprotected:
		return []nft.Rule{nft.NewRule(n.Name+": unprotected, every port", nft.Family(family), nft.Goto(pass))}
	case Routed:
		return []nft.Rule{
			nft.NewRule(n.Name+": routed, echo and errors", nft.Family(family), nft.ProtoIs(icmp), nft.Goto(pass)),
			nft.NewRule(n.Name+": routed, published ports", nft.In(nft.PublishedAt(family), open), nft.Goto(pass)),
		}
	}
	return nil
}

// sourceRules say which source address a packet from the network gets.
func sourceRules(n Network) []nft.Rule {
	var rules []nft.Rule
	add := func(subnet netip.Prefix, m Mode, noMasq bool, address netip.Addr) {
		if !subnet.IsValid() {
			return
		}
		rules = append(rules, nft.NewRule(n.Name+": by a published port back into the network, so that the answer comes here",
			nft.From(subnet), nft.OutLinkIs(n.Link), nft.Diverted(), nft.Masquerade()))
		switch {
		case noMasq || !translated(m):
		case address.IsValid():
			rules = append(rules, nft.NewRule(n.Name+": by its own address of the host", nft.From(subnet), nft.OutLinkIsNot(n.Link), nft.SNAT(address)))
		default:
			rules = append(rules, nft.NewRule(n.Name+": by the host's address", nft.From(subnet), nft.OutLinkIsNot(n.Link), nft.Masquerade()))
		}
	}
	add(n.Subnet, n.Mode, n.NoMasq, n.Source)
	add(n.Subnet6, n.Mode6, n.NoMasq6, n.Source6)
	return rules
}

func translated(m Mode) bool { return m == "" || m == NAT || m == NATUnprotected }

// eachElement gives the elements by which packets find a network's chains.
func eachElement(n Network, add func(nft.Set, ...nft.Element)) {
	key := nft.IfNameKey(n.Link)
	add(bridges, nft.Element{Key: key, Comment: n.Name})
	add(into, nft.Element{Key: key, Verdict: nft.JumpTo(intoChain(n.Link))})
	if n.Internal {
		add(outOf, nft.Element{Key: key, Verdict: nft.JumpTo(outOfChain(n.Link))})
	} else {
		add(source, nft.Element{Key: key, Verdict: nft.JumpTo(sourceChain(n.Link))})
	}
	four, six := links(n.Allowed)
	add(links4, four...)
	add(links6, six...)
}

// links are the elements of exceptions. The answers are of established connections.
func links(exceptions []Allow) (four, six []nft.Element) {
	seen := map[Allow]bool{}
	for _, a := range exceptions {
		if seen[a] {
			continue
		}
		seen[a] = true
		e := nft.Element{Key: nft.Key(a.From.AsSlice(), a.To.AsSlice(), []byte{protocols[a.Proto]}, nft.Port(a.Port))}
		if a.To.Is4() {
			four = append(four, e)
		} else {
			six = append(six, e)
		}
	}
	return four, six
}

func addNetwork(b *nft.Batch, table string, n Network) {
	for _, c := range networkChains(n) {
		b.AddChain(table, c)
	}
	eachElement(n, func(s nft.Set, e ...nft.Element) { b.Add(table, s, e...) })
}

// replaceNetwork gives a network's chains other rules. Chains of the same names made anew
// would be empty to a packet that is on its way: it would pass.
func replaceNetwork(b *nft.Batch, table string, old, n Network) {
	eachElement(old, func(s nft.Set, e ...nft.Element) { b.Remove(table, s, e...) })
	was, is := networkChains(old), networkChains(n)
	named := func(name string) func(nft.Chain) bool {
		return func(c nft.Chain) bool { return c.Name == name }
	}
	for _, c := range was {
		if !slices.ContainsFunc(is, named(c.Name)) {
			b.DeleteChain(table, c.Name)
		}
	}
	for _, c := range is {
		if slices.ContainsFunc(was, named(c.Name)) {
			b.Rewrite(table, c)
		} else {
			b.AddChain(table, c)
		}
	}
	eachElement(n, func(s nft.Set, e ...nft.Element) { b.Add(table, s, e...) })
}

func removeNetwork(b *nft.Batch, table string, n Network) {
	eachElement(n, func(s nft.Set, e ...nft.Element) { b.Remove(table, s, e...) })
	for _, c := range networkChains(n) {
		b.DeleteChain(table, c.Name)
	}
}
