package firewall

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"hoy/linux/nft"
)

// AddressSet is a named list of peers, as a firewall's ipset: addresses of one family, or
// link addresses.
type AddressSet struct {
	Name   string // for people: "ipset office"
	Ranges []AddressRange
	MACs   []net.HardwareAddr // instead
}

// AddressRange is all addresses from First to Last.
type AddressRange struct{ First, Last netip.Addr }

// is4 tells whether the addresses are IPv4; of none they are.
func (s *AddressSet) is4() bool { return len(s.Ranges) == 0 || s.Ranges[0].First.Is4() }

// inTable is the set's name in the table, which no set of other peers has, nor had before:
// a packet that is still with former rules shall not look for its sender among others, nor
// among none while they are replaced.
func (s *AddressSet) inTable() string {
	h := sha256.New()
	fmt.Fprintln(h, s.Name, s.Ranges, s.MACs)
	return fmt.Sprintf("peers-%x", h.Sum(nil)[:6])
}

// sets are those that the policy's rules name, with their names in the table.
func (p Policy) sets() (all []*AddressSet, names map[string]string) {
	names = map[string]string{}
	var walk func([]PolicyRule)
	walk = func(rules []PolicyRule) {
		for _, r := range rules {
			if s := r.FromSet; s != nil && names[s.Name] == "" {
				all = append(all, s)
				names[s.Name] = s.inTable()
			}
			if r.Zone != nil {
				walk(r.Zone.Rules)
			}
		}
	}
	walk(p.Rules)
	return all, names
}

// limits tells whether a rule counts connections. Those of zones do not.
func (p Policy) limits() bool {
	return slices.ContainsFunc(p.Rules, func(r PolicyRule) bool { return r.Limited })
}

// nftSets are they as the table has them.
func (p Policy) nftSets() (list []nft.Set) {
	all, names := p.sets()
	for _, s := range all {
		out := nft.Set{Name: names[s.Name], Comment: s.Name}
		switch {
		case s.MACs != nil:
			out.Key = nft.EtherAddr
			macs := slices.Clone(s.MACs)
			slices.SortFunc(macs, func(a, b net.HardwareAddr) int { return strings.Compare(string(a), string(b)) })
			for _, m := range slices.CompactFunc(macs, slices.Equal) {
				out.Elements = append(out.Elements, nft.Element{Key: m})
			}
		case s.is4():
			out.Key, out.Interval, out.Elements = nft.IPv4, true, intervals(s.Ranges)
		default:
			out.Key, out.Interval, out.Elements = nft.IPv6, true, intervals(s.Ranges)
		}
		list = append(list, out)
	}
	return list
}

// intervals are ranges as the kernel has them: each begin, and each address behind an end.
// Those that overlap or touch become one, which the kernel does not do by itself.
func intervals(ranges []AddressRange) (all []nft.Element) {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b AddressRange) int { return a.First.Compare(b.First) })
	for i := 0; i < len(sorted); {
		r := sorted[i]
		for i++; i < len(sorted) && (!r.Last.Next().IsValid() || sorted[i].First.Compare(r.Last.Next()) <= 0); i++ {
			if sorted[i].Last.Compare(r.Last) > 0 {
				r.Last = sorted[i].Last
			}
		}
		all = append(all, nft.Element{Key: r.First.AsSlice()})
		if behind := r.Last.Next(); behind.IsValid() {
			all = append(all, nft.Element{Key: behind.AsSlice(), End: true})
		}
	}
	return all
}

// match matches packets that come from one of the set, or from none of it.
func (s *AddressSet) match(name string, not bool) nft.Expr {
	key := nft.SourceLinkAddress()
	switch {
	case s.MACs != nil:
	case s.is4():
		key = nft.Source(nft.IPv4)
	default:
		key = nft.Source(nft.IPv6)
	}
	if not {
		return nft.NotIn(key, name)
	}
	return nft.In(key, name)
}
