package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

// Answer says of some peers whether they reach a published port.
type Answer struct {
	Who   string // "everybody", "10.0.0.0/8 by eth0", …
	Reach bool
	Why   string
}

// Explain says who reaches a published port: the first answer that is about a peer
// counts for it.
func (f *Firewall) Explain(p Port) []Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.networks[p.Link]
	switch {
	case f.bare(p.Container.Addr()):
		return []Answer{{"everybody whom the host's own rules let reach its port", true, "the engine makes no rules for it"}}
	case f.state().routed(p):
		return []Answer{{"everybody who has a route to " + p.Container.String(), true, "network " + n.Name + " is routed"}}
	case n.Internal:
		return []Answer{{"everybody", false, "network " + n.Name + " is internal"}}
	case p.Host.Addr().IsLoopback():
		return []Answer{{"this host", true, "it is published at " + p.Host.Addr().String()}, {"everybody else", false, "that address is the host's own"}}
	}
	own := Answer{"this host", true, "its own connections are not asked about"}
	switch {
	case f.policy.Firewall == "":
		return []Answer{{"everybody", true, "the host has no firewall that hoy knows"}}
	case n.Unguarded:
		return []Answer{{"everybody", true, "network " + n.Name + " does not ask the host's firewall (docker's behaviour)"}}
	}
	return append([]Answer{own}, f.policy.explain(p)...)
}

func (p Policy) explain(port Port) []Answer {
	var all []Answer
	if explainRules(p.Rules, port, nil, &all) {
		return all
	}
	return append(all, Answer{"everybody else", !p.Refuse, p.Firewall + ": by default"})
}

// explainRules adds the answers of rules; done is true when nobody is left to decide on.
func explainRules(rules []PolicyRule, port Port, within []string, all *[]Answer) (done bool) {
	for _, r := range rules {
		if !r.concerns(port) || r.In == "lo" {
			continue
		}
		who := append(append([]string{}, within...), r.who()...)
		if r.Zone != nil {
			if !explainRules(r.Zone.Rules, port, who, all) {
				*all = append(*all, Answer{peers(who), !r.Zone.Refuse, "zone " + r.Zone.Name + ": by default"})
			}
		} else {
			why := r.Comment
			if r.Limited {
				why = fmt.Sprintf("%s, at most %d times a minute from an address", why, limitRate)
			}
			*all = append(*all, Answer{peers(who), !r.Refuse, why})
		}
		if len(r.who()) == 0 {
			return true
		}
	}
	return false
}

func peers(who []string) string {
	if len(who) == 0 {
		return "everybody"
	}
	return strings.Join(who, " ")
}

// concerns says whether the rule can match a packet to the port.
func (r PolicyRule) concerns(p Port) bool {
	if r.Proto != "" && r.Proto != p.Proto {
		return false
	}
	if r.Last != 0 && (p.Host.Port() < r.First || p.Host.Port() > r.Last) {
		return false
	}
	for _, x := range []netip.Prefix{r.From, r.To} {
		if x.IsValid() && x.Addr().Is4() != p.Host.Addr().Is4() {
			return false
		}
	}
	if s := r.FromSet; s != nil && s.MACs == nil && s.is4() != p.Host.Addr().Is4() {
		return false
	}
	return !r.To.IsValid() || p.Host.Addr().IsUnspecified() || r.To.Contains(p.Host.Addr())
}

// who are the peers that the rule is about; nothing is everybody.
func (r PolicyRule) who() []string {
	var w []string
	if r.From.IsValid() && r.From.Bits() > 0 {
		w = append(w, map[bool]string{false: "", true: "all but "}[r.Not]+r.From.String())
	}
	if r.FromSet != nil {
		w = append(w, map[bool]string{false: "", true: "all but "}[r.Not]+r.FromSet.Name)
	}
	if r.SourcePort[1] != 0 {
		w = append(w, fmt.Sprintf("from port %d-%d", r.SourcePort[0], r.SourcePort[1]))
	}
	if r.In != "" {
		w = append(w, "by "+r.In)
	}
	if r.To.IsValid() && r.To.Bits() > 0 {
		w = append(w, "to "+r.To.String())
	}
	return w
}
