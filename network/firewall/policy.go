package firewall

import (
	"net/netip"
	"reflect"
	"slices"

	"hoy/linux/nft"
)

// admission is the chain that says whether the host's own firewall lets somebody reach
// a port of the host. "return" lets the packet go to its container. "accept" leaves it
// where it is going: to the host, whose own rules then refuse it in their own way.
const admission = "admission"

// Policy is the host's own input policy, as its firewall's configuration has it: the
// first rule that matches decides.
type Policy struct {
	Firewall string // whose it is, for comments: ufw, firewalld; "": none, everybody is let in
	Rules    []PolicyRule
	Refuse   bool // who no rule mentions
}

// PolicyRule lets in or refuses the packets that all of its fields match; the zero
// value of a field matches every packet.
type PolicyRule struct {
	Comment     string       // the rule as the firewall's own tools print it
	In          string       // link; with a final *, every link whose name begins so
	From, To    netip.Prefix // 0.0.0.0/0 and ::/0 match the packets of a family
	FromSet     *AddressSet  // instead of From; nil: everybody
	Not         bool         // From or FromSet is inverted
	Proto       string       // tcp, udp or sctp
	First, Last uint16       // destination port
	SourcePort  [2]uint16    // first and last

	// Limited lets in an address limitRate times a minute at each port, and refuses it
	// beyond (ufw limit). From or To says which family.
	Limited bool

	Refuse bool
	Zone   *Zone // instead: its rules decide, and its default
}

// Zone is a list of rules that packets from some sources or links meet.
type Zone struct {
	Name   string
	Rules  []PolicyRule
	Refuse bool // who no rule mentions
}

// SetPolicy makes the host's input policy that of published ports too.
func (f *Firewall) SetPolicy(p Policy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reflect.DeepEqual(f.policy, p) {
		return nil
	}
	old := f.policy
	f.policy = p
	if len(f.networks) == 0 {
		return nil // Sync writes it
	}
	if err := f.write(f.state()); err != nil {
		f.policy = old
		return err
	}
	return nil
}

// chains are the chain admission, and one for each zone.
func (p Policy) chains() []nft.Chain {
	first := nft.Chain{Name: admission}
	if p.Firewall == "" {
		first.Rules = []nft.Rule{nft.NewRule("the host has no firewall: everybody", nft.Return())}
		return []nft.Chain{first}
	}
	first.Rules = []nft.Rule{nft.NewRule("networks that choose docker's behaviour", nft.In(nft.AnyPublished(), unguarded.Name), nft.Return())}
	_, sets := p.sets()
	zones := map[string]bool{}
	var all []nft.Chain
	for _, r := range p.Rules {
		if r.Zone != nil && !zones[r.Zone.Name] {
			zones[r.Zone.Name] = true
			all = append(all, r.Zone.chain(sets))
		}
		first.Rules = append(first.Rules, r.rules(sets)...)
	}
	first.Rules = append(first.Rules, verdictRule(p.Firewall+": by default", p.Refuse))
	return append(all, first)
}

func zoneChain(name string) string { return admission + "-" + name }

func (z *Zone) chain(sets map[string]string) nft.Chain {
	c := nft.Chain{Name: zoneChain(z.Name)}
	for _, r := range z.Rules {
		c.Rules = append(c.Rules, r.rules(sets)...)
	}
	c.Rules = append(c.Rules, verdictRule("zone "+z.Name+": by default", z.Refuse))
	return c
}

func verdictRule(comment string, refuse bool) nft.Rule {
	if refuse {
		return nft.NewRule(comment, nft.Accept())
	}
	return nft.NewRule(comment, nft.Return())
}

// rules is the rule in the table; sets are the names of address sets there.
func (r PolicyRule) rules(sets map[string]string) []nft.Rule {
	do := r.matches(sets)
	switch {
	case r.Zone != nil:
		return []nft.Rule{nft.NewRule(r.Comment, append(do, nft.Goto(zoneChain(r.Zone.Name)))...)}
	case r.Refuse:
		return []nft.Rule{nft.NewRule(r.Comment, append(do, nft.Accept())...)}
	}
	in := nft.NewRule(r.Comment, append(slices.Clone(do), nft.Return())...)
	if !r.Limited {
		return []nft.Rule{in}
	}
	key, set := nft.SourceOf(nft.IPv4), limited4.Name
	if r.From.IsValid() && r.From.Addr().Is6() || r.To.IsValid() && r.To.Addr().Is6() {
		key, set = nft.SourceOf(nft.IPv6), limited6.Name
	}
	return []nft.Rule{nft.NewRule(r.Comment+": too often", append(do, nft.Often(key, set, limitRate, limitBurst), nft.Accept())...), in}
}

// ufw's limit refuses the sixth connection within half a minute.
const limitRate, limitBurst = 12, 5

func (r PolicyRule) matches(sets map[string]string) []nft.Expr {
	var do []nft.Expr
	if r.In != "" {
		do = append(do, nft.InLinkLike(r.In))
	}
	if r.From.IsValid() {
		do = append(do, prefix(r.From, r.Not, nft.From))
	}
	if r.FromSet != nil {
		do = append(do, r.FromSet.match(sets[r.FromSet.Name], r.Not))
	}
	if r.To.IsValid() {
		do = append(do, prefix(r.To, false, nft.To))
	}
	if r.Proto != "" {
		do = append(do, nft.ProtoIs(protocols[r.Proto]))
	}
	if r.SourcePort[1] != 0 {
		do = append(do, nft.SourcePorts(r.SourcePort[0], r.SourcePort[1]))
	}
	if r.Last != 0 {
		do = append(do, nft.DestinationPorts(r.First, r.Last))
	}
	return do
}

func prefix(p netip.Prefix, not bool, match func(netip.Prefix) nft.Expr) nft.Expr {
	switch {
	case p.Bits() > 0 && not:
		return nft.Not(match(p))
	case p.Bits() > 0:
		return match(p)
	case p.Addr().Is4():
		return nft.Family(nft.IPv4)
	}
	return nft.Family(nft.IPv6)
}
