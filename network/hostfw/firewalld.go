package hostfw

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hoy/linux/nft"
	"hoy/network/firewall"
)

// firewalldTable is what firewalld writes with its usual back end.
const firewalldTable = "firewalld"

// firewalldDirs are where its configuration is, the administrator's first.
var firewalldDirs = []string{"/etc/firewalld", "/usr/lib/firewalld"}

func (h Host) firewalldRuns() bool { return nft.Exists(firewalldTable) }

// zone is a zone of firewalld (firewalld.zone(5)).
type zone struct {
	Name       string    `xml:"-"`
	Target     string    `xml:"target,attr"` // "": reject what no rule mentions; ACCEPT, DROP, %%REJECT%%
	Interfaces []named   `xml:"interface"`
	Sources    []address `xml:"source"`
	Services   []named   `xml:"service"`
	Ports      []port    `xml:"port"`
	FromPorts  []port    `xml:"source-port"`
	Protocols  []value   `xml:"protocol"`
	Rules      []rich    `xml:"rule"`
}

type (
	named struct {
		Name string `xml:"name,attr"`
	}
	value struct {
		Value string `xml:"value,attr"`
	}
	address struct {
		Address string `xml:"address,attr"`
		MAC     string `xml:"mac,attr"`
		IPSet   string `xml:"ipset,attr"`
		Invert  string `xml:"invert,attr"`
	}
	port struct {
		Port     string `xml:"port,attr"`
		Protocol string `xml:"protocol,attr"`
	}
	// rich is a rich rule (firewalld.richlanguage(5)).
	rich struct {
		Family      string    `xml:"family,attr"`
		Priority    int       `xml:"priority,attr"`
		Source      *address  `xml:"source"`
		Destination *address  `xml:"destination"`
		Service     *named    `xml:"service"`
		Port        *port     `xml:"port"`
		FromPort    *port     `xml:"source-port"`
		Protocol    *value    `xml:"protocol"`
		Accept      *struct{} `xml:"accept"`
		Reject      *struct{} `xml:"reject"`
		Drop        *struct{} `xml:"drop"`

		// Those of which a rule has one instead, which is nothing that comes to the host.
		ICMPBlock   *struct{} `xml:"icmp-block"`
		ICMPType    *struct{} `xml:"icmp-type"`
		ForwardPort *struct{} `xml:"forward-port"`
		Masquerade  *struct{} `xml:"masquerade"`
	}
	// service is a name for ports (firewalld.service(5)).
	service struct {
		Ports     []port  `xml:"port"`
		FromPorts []port  `xml:"source-port"`
		Protocols []value `xml:"protocol"`
		Includes  []struct {
			Service string `xml:"service,attr"`
		} `xml:"include"`
		Dest *struct {
			IPv4 string `xml:"ipv4,attr"`
			IPv6 string `xml:"ipv6,attr"`
		} `xml:"destination"`
	}
)

func (h Host) readFirewalld() State {
	f := firewalld{host: h, state: &State{Policy: firewall.Policy{Firewall: "firewalld", Refuse: true}}}
	zones, name, sets, err := h.runtimeZones()
	f.ipsets = sets
	if err != nil {
		// Its files say the same, but for what was changed while it runs.
		name = cmp.Or(shellValue(h.read("/etc/firewalld/firewalld.conf"), "DefaultZone"), "public")
		zones, err = f.zones()
	}
	if err != nil {
		f.warn("published ports are closed: %v", err)
		return *f.state
	}
	slices.SortFunc(zones, func(a, b zone) int { return strings.Compare(a.Name, b.Name) })
	// Packets find their zone by source, then by link; the rest are of the default zone.
	for _, z := range zones {
		for _, s := range z.Sources {
			p, set, err := f.source(s)
			if err != nil {
				f.warn("zone %s: published ports do not know its source: %v", z.Name, err)
				continue
			}
			name := s.Address
			if set != nil {
				name = set.Name
			}
			f.add(firewall.PolicyRule{Comment: "firewalld: from " + name, From: p, FromSet: set, Zone: f.zone(z)})
		}
	}
	for _, z := range zones {
		for _, i := range z.Interfaces {
			f.add(firewall.PolicyRule{Comment: "firewalld: by " + i.Name, In: strings.Replace(i.Name, "+", "*", 1), Zone: f.zone(z)})
		}
	}
	i := slices.IndexFunc(zones, func(z zone) bool { return z.Name == name })
	if i < 0 {
		f.warn("published ports are closed: there is no zone %s, the default one", name)
		return *f.state
	}
	f.add(firewall.PolicyRule{Comment: "firewalld: by default", Zone: f.zone(zones[i])})
	return *f.state
}

// firewalld is a configuration that is being read.
type firewalld struct {
	host  Host
	state *State
	made  map[string]*firewall.Zone

	ipsets map[string]ipset // as firewalld has them now; nil: as in its files
	sets   map[string]*firewall.AddressSet
}

func (f *firewalld) add(r ...firewall.PolicyRule) {
	f.state.Policy.Rules = append(f.state.Policy.Rules, r...)
}

func (f *firewalld) warn(format string, args ...any) {
	if w := "firewalld: " + fmt.Sprintf(format, args...); !slices.Contains(f.state.Warnings, w) {
		f.state.Warnings = append(f.state.Warnings, w)
	}
}

// zones are all zones by name; a file of the administrator's replaces the other.
func (f *firewalld) zones() ([]zone, error) {
	var all []zone
	for _, dir := range firewalldDirs {
		files, _ := filepath.Glob(f.host.path(dir + "/zones/*.xml"))
		for _, file := range files {
			z := zone{Name: strings.TrimSuffix(filepath.Base(file), ".xml")}
			if slices.ContainsFunc(all, func(o zone) bool { return o.Name == z.Name }) {
				continue
			}
			if err := readXML(file, &z); err != nil {
				return nil, err
			}
			all = append(all, z)
		}
	}
	return all, nil
}

func readXML(file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(b, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", file, err)
	}
	return nil
}

func (f *firewalld) service(name string) (service, error) {
	var s service
	for _, dir := range firewalldDirs {
		err := readXML(f.host.path(filepath.Join(dir, "services", filepath.Base(name)+".xml")), &s)
		if !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	return s, fmt.Errorf("there is no service %s", name)
}

// zone compiles a zone's rules in the order in which firewalld's chains have them: rich
// rules of negative priority, those that refuse, those that accept together with
// services and ports, rich rules of positive priority.
func (f *firewalld) zone(z zone) *firewall.Zone {
	if made, ok := f.made[z.Name]; ok {
		return made
	}
	out := &firewall.Zone{Name: z.Name, Refuse: z.Target != "ACCEPT"}
	rules := slices.Clone(z.Rules)
	slices.SortStableFunc(rules, func(a, b rich) int { return cmp.Compare(a.Priority, b.Priority) })
	pick := func(want func(rich) bool) {
		for _, r := range rules {
			if want(r) {
				out.Rules = append(out.Rules, f.rich(z.Name, r)...)
			}
		}
	}
	pick(func(r rich) bool { return r.Priority < 0 })
	pick(func(r rich) bool { return r.Priority == 0 && r.Accept == nil })
	for _, s := range z.Services {
		out.Rules = append(out.Rules, f.serviceRules(z.Name, s.Name)...)
	}
	for _, p := range z.Ports {
		out.Rules = append(out.Rules, f.portRule(z.Name, p, false)...)
	}
	for _, p := range z.FromPorts {
		out.Rules = append(out.Rules, f.portRule(z.Name, p, true)...)
	}
	for _, p := range z.Protocols {
		out.Rules = append(out.Rules, protocolRule(z.Name, p)...)
	}
	pick(func(r rich) bool { return r.Priority == 0 && r.Accept != nil })
	pick(func(r rich) bool { return r.Priority > 0 })
	if f.made == nil {
		f.made = map[string]*firewall.Zone{}
	}
	f.made[z.Name] = out
	return out
}

// withPorts are protocols whose ports can be published.
func withPorts(protocol string) bool {
	return protocol == "tcp" || protocol == "udp" || protocol == "sctp"
}

func (f *firewalld) portRule(zone string, p port, source bool) []firewall.PolicyRule {
	if !withPorts(p.Protocol) {
		return nil
	}
	r := firewall.PolicyRule{Comment: zone + ": port " + p.Port + "/" + p.Protocol, Proto: p.Protocol}
	ports, err := parsePorts(p.Port)
	if err != nil {
		f.warn("zone %s: %v", zone, err)
		return nil
	}
	if source {
		r.Comment, r.SourcePort = zone+": source port "+p.Port+"/"+p.Protocol, ports[0]
	} else {
		r.First, r.Last = ports[0][0], ports[0][1]
	}
	return []firewall.PolicyRule{r}
}

func protocolRule(zone string, p value) []firewall.PolicyRule {
	if !withPorts(p.Value) {
		return nil
	}
	return []firewall.PolicyRule{{Comment: zone + ": protocol " + p.Value, Proto: p.Value}}
}

// serviceRules are those of a service and of the services that it includes, but for
// those that have led here.
func (f *firewalld) serviceRules(zone, name string, by ...string) []firewall.PolicyRule {
	s, err := f.service(name)
	if err != nil {
		f.warn("zone %s: %v", zone, err)
		return nil
	}
	var all []firewall.PolicyRule
	for _, p := range s.Ports {
		all = append(all, f.portRule(zone, p, false)...)
	}
	for _, p := range s.FromPorts {
		all = append(all, f.portRule(zone, p, true)...)
	}
	for _, p := range s.Protocols {
		all = append(all, protocolRule(zone, p)...)
	}
	if s.Dest != nil {
		all = withDestinations(all, s.Dest.IPv4, s.Dest.IPv6)
	}
	for i := range all {
		all[i].Comment = zone + ": service " + name
	}
	for _, i := range s.Includes {
		if by := append(by, name); !slices.Contains(by, i.Service) {
			all = append(all, f.serviceRules(zone, i.Service, by...)...)
		}
	}
	return all
}

// withDestinations restricts rules to addresses, of either family.
func withDestinations(rules []firewall.PolicyRule, to ...string) []firewall.PolicyRule {
	var all []firewall.PolicyRule
	for _, t := range to {
		if p, err := parsePrefix(t); err == nil {
			for _, r := range rules {
				r.To = p
				all = append(all, r)
			}
		}
	}
	return all
}

// rich are the rules of a rich one; without an element it is about all packets.
func (f *firewalld) rich(zone string, r rich) []firewall.PolicyRule {
	if r.Accept == nil && r.Reject == nil && r.Drop == nil {
		return nil // it only logs, or marks
	}
	if r.ICMPBlock != nil || r.ICMPType != nil || r.ForwardPort != nil || r.Masquerade != nil {
		return nil
	}
	var all []firewall.PolicyRule
	switch {
	case r.Service != nil:
		all = f.serviceRules(zone, r.Service.Name)
	case r.Port != nil:
		all = f.portRule(zone, *r.Port, false)
	case r.FromPort != nil:
		all = f.portRule(zone, *r.FromPort, true)
	case r.Protocol != nil:
		all = protocolRule(zone, *r.Protocol)
	default:
		all = []firewall.PolicyRule{{Comment: zone + ": rich rule"}}
	}
	all = slices.DeleteFunc(all, func(p firewall.PolicyRule) bool { // of the other family
		return p.To.IsValid() && (r.Family == "ipv4" && p.To.Addr().Is6() || r.Family == "ipv6" && p.To.Addr().Is4())
	})
	for i := range all {
		if err := f.narrow(&all[i], r); err != nil {
			f.warn("zone %s: published ports cannot obey a rich rule: %v", zone, err)
			if r.Accept != nil {
				return nil
			}
		}
		all[i].Refuse = r.Accept == nil
	}
	return all
}

func (f *firewalld) narrow(p *firewall.PolicyRule, r rich) error {
	switch {
	case p.To.IsValid():
	case r.Family == "ipv4":
		p.To = netip.MustParsePrefix("0.0.0.0/0")
	case r.Family == "ipv6":
		p.To = netip.MustParsePrefix("::/0")
	}
	if s := r.Source; s != nil {
		from, set, err := f.source(*s)
		if err != nil {
			return err
		}
		p.From, p.FromSet, p.Not = from, set, isTrue(s.Invert)
	}
	if d := r.Destination; d != nil {
		to, err := parsePrefix(d.Address)
		if err != nil || isTrue(d.Invert) {
			return fmt.Errorf("destination %s%s", d.Address, d.IPSet)
		}
		p.To = to
	}
	return nil
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "yes") }
