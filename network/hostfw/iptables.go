package hostfw

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"hoy/network/firewall"
)

// iptablesRule is a line "-A CHAIN …" as iptables-save(8) and ufw write it, as far as
// it can concern a new connection to a port of the host.
type iptablesRule struct {
	chain  string
	target string
	match  firewall.PolicyRule
	ports  [][2]uint16 // of the destination: any of them
	sports [][2]uint16 // of the source

	irrelevant bool  // it cannot match such a connection
	unknown    error // a match that the policy cannot express
}

// parseRule reads a line; ok is false for lines that are no rules.
func parseRule(line string) (r iptablesRule, ok bool) {
	w, err := words(line)
	if err != nil || len(w) < 3 || w[0] != "-A" {
		return r, false
	}
	r.chain = w[1]
	not := false
	for i := 2; i < len(w); {
		if w[i] == "!" {
			not = true
			i++
			continue
		}
		value := ""
		if i+1 < len(w) {
			value = w[i+1]
		}
		n := r.option(w[i], value, not)
		not = false
		i += n
	}
	return r, true
}

// option takes one option, and says how many words it has.
func (r *iptablesRule) option(name, value string, not bool) int {
	var err error
	inverted := not
	switch name {
	case "-p", "--protocol":
		switch value {
		case "tcp", "udp", "sctp":
			r.match.Proto = value
		case "all":
		default:
			r.irrelevant = r.irrelevant || !not // icmp, esp …: no ports
		}
	case "-s", "--source":
		r.match.From, err = parsePrefix(value)
		r.match.Not, inverted = not, false
	case "-d", "--destination":
		r.match.To, err = parsePrefix(value)
	case "-i", "--in-interface":
		r.match.In = strings.TrimSuffix(value, "+")
		if r.match.In != value {
			r.match.In += "*"
		}
	case "--dport", "--dports", "--destination-port", "--destination-ports":
		r.ports, err = parsePorts(value)
	case "--sport", "--sports", "--source-port", "--source-ports":
		r.sports, err = parsePorts(value)
	case "-j", "--jump", "-g", "--goto":
		r.target = value
	case "--ctstate", "--state":
		r.irrelevant = r.irrelevant || strings.Contains(","+value+",", ",NEW,") == not
		inverted = false
	case "-m", "--match":
		switch value {
		case "tcp", "udp", "sctp", "multiport", "conntrack", "state", "comment", "limit", "hashlimit":
		case "recent":
			r.irrelevant = true // ufw's "limit" counts by it
		case "icmp", "icmp6", "icmpv6", "rt", "hl":
			r.irrelevant = true // nothing of it has ports
		case "addrtype":
		default:
			err = errors.New("-m " + value)
		}
	case "--comment", "--limit", "--limit-burst", "--reject-with", "--log-prefix", "--log-level":
	case "--icmp-type", "--icmpv6-type", "--set", "--update", "--seconds", "--hitcount", "--hl-eq", "--rt-type":
		r.irrelevant = true
		if name == "--set" || name == "--update" {
			return 1
		}
	case "--dst-type":
		// Published ports are at the host's own addresses.
		r.irrelevant = r.irrelevant || (value == "LOCAL") == not
		inverted = false
	default:
		err = errors.New(name)
	}
	if inverted {
		err = errors.Join(err, errors.New("! "+name))
	}
	if err != nil && r.unknown == nil {
		r.unknown = err
	}
	return 2
}

// rules are those of the policy, one for each range of ports.
func (r iptablesRule) rules(comment string, refuse bool) []firewall.PolicyRule {
	ports, sports := r.ports, r.sports
	if len(ports) == 0 {
		ports = [][2]uint16{{}}
	}
	if len(sports) == 0 {
		sports = [][2]uint16{{}}
	}
	var all []firewall.PolicyRule
	for _, p := range ports {
		for _, s := range sports {
			m := r.match
			m.Comment, m.Refuse = comment, refuse
			m.First, m.Last, m.SourcePort = p[0], p[1], s
			all = append(all, m)
		}
	}
	return all
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	// 10.0.0.0/255.0.0.0
	a, mask, _ := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(a)
	m, err2 := netip.ParseAddr(mask)
	if err == nil && err2 == nil && addr.Is4() && m.Is4() {
		b := m.As4()
		bits, v := 0, uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])
		for ; v&(1<<31) != 0; v <<= 1 {
			bits++
		}
		if v == 0 {
			return netip.PrefixFrom(addr, bits).Masked(), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("address %q", s)
}

// parsePorts reads "80", "80,443" and "8000:8100".
func parsePorts(s string) ([][2]uint16, error) {
	var all [][2]uint16
	for part := range strings.SplitSeq(s, ",") {
		a, b, two := strings.Cut(part, ":")
		if !two {
			if a, b, two = strings.Cut(part, "-"); !two {
				b = a
			}
		}
		first, err := strconv.ParseUint(a, 10, 16)
		last, err2 := strconv.ParseUint(b, 10, 16)
		if err != nil || err2 != nil || last < first || last == 0 {
			return nil, fmt.Errorf("port %q", part)
		}
		all = append(all, [2]uint16{uint16(first), uint16(last)})
	}
	return all, nil
}

// words splits a line as iptables-restore does: at blanks, outside of quotes.
func words(line string) ([]string, error) {
	var all []string
	var b strings.Builder
	in, quote := false, rune(0)
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				all = append(all, b.String())
				b.Reset()
				in = false
			}
		default:
			b.WriteRune(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		all = append(all, b.String())
	}
	return all, nil
}
