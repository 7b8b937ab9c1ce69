package hostfw

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	systemBus     = "/run/dbus/system_bus_socket"
	firewalldName = "org.fedoraproject.FirewallD1"
)

// runtimeZones asks firewalld itself for its zones, which one is the default, and its
// ipsets: they may be others than in its files ("firewall-cmd --add-port" without
// "--permanent", and links that NetworkManager has put into a zone).
func (h Host) runtimeZones() (zones []zone, byDefault string, sets map[string]ipset, err error) {
	c, err := dbus.Dial("unix:path=" + h.path(systemBus))
	if err != nil {
		return nil, "", nil, err
	}
	defer c.Close()
	// A bus that does not answer shall not keep anybody waiting.
	t := time.AfterFunc(5*time.Second, func() { c.Close() })
	defer t.Stop()
	if err := c.Auth(nil); err != nil {
		return nil, "", nil, err
	}
	if err := c.Hello(); err != nil {
		return nil, "", nil, err
	}
	o := c.Object(firewalldName, dbus.ObjectPath("/org/fedoraproject/FirewallD1"))
	call := func(method string, into any, args ...any) error {
		return o.Call(firewalldName+"."+method, dbus.FlagNoAutoStart, args...).Store(into)
	}
	if err := call("getDefaultZone", &byDefault); err != nil {
		return nil, "", nil, err
	}
	var names []string
	if err := call("zone.getZones", &names); err != nil {
		return nil, "", nil, err
	}
	for _, n := range names {
		var s map[string]dbus.Variant
		if err := call("zone.getZoneSettings2", &s, n); err != nil {
			return nil, "", nil, err
		}
		z, err := zoneOf(n, s)
		if err != nil {
			return nil, "", nil, fmt.Errorf("zone %s: %w", n, err)
		}
		zones = append(zones, z)
	}
	sets, err = runtimeIPSets(call)
	return zones, byDefault, sets, err
}

// runtimeIPSets asks for the ipsets (firewalld.dbus(5), getIPSetSettings).
func runtimeIPSets(call func(method string, into any, args ...any) error) (map[string]ipset, error) {
	var names []string
	if err := call("ipset.getIPSets", &names); err != nil {
		return nil, err
	}
	sets := map[string]ipset{}
	for _, n := range names {
		var settings struct {
			Version, Short, Description, Type string
			Options                           map[string]string
			Entries                           []string
		}
		if err := call("ipset.getIPSetSettings", &settings, n); err != nil {
			return nil, err
		}
		s := ipset{Type: settings.Type, Entries: settings.Entries}
		for k, v := range settings.Options {
			s.Options = append(s.Options, option{k, v})
		}
		sets[n] = s
	}
	return sets, nil
}

// zoneOf reads the settings of a zone (firewalld.dbus(5), getZoneSettings2).
func zoneOf(name string, s map[string]dbus.Variant) (zone, error) {
	z := zone{Name: name}
	var interfaces, sources, services, protocols, rules []string
	var ports, fromPorts [][]any
	for key, into := range map[string]any{"target": &z.Target, "interfaces": &interfaces, "sources": &sources, "services": &services,
		"protocols": &protocols, "rules_str": &rules, "ports": &ports, "source_ports": &fromPorts} {
		if v, ok := s[key]; ok {
			if err := dbus.Store([]any{v.Value()}, into); err != nil {
				return z, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	if z.Target == "default" {
		z.Target = ""
	}
	for _, i := range interfaces {
		z.Interfaces = append(z.Interfaces, named{i})
	}
	for _, a := range sources {
		z.Sources = append(z.Sources, sourceOf(a))
	}
	for _, n := range services {
		z.Services = append(z.Services, named{n})
	}
	for _, p := range protocols {
		z.Protocols = append(z.Protocols, value{p})
	}
	z.Ports, z.FromPorts = portsOf(ports), portsOf(fromPorts)
	for _, r := range rules {
		parsed, err := parseRich(r)
		if err != nil {
			return z, err
		}
		z.Rules = append(z.Rules, parsed)
	}
	return z, nil
}

func sourceOf(s string) address {
	if set, ok := strings.CutPrefix(s, "ipset:"); ok {
		return address{IPSet: set}
	}
	return address{Address: s} // or a link address, which parsePrefix refuses
}

func portsOf(list [][]any) []port {
	var all []port
	for _, p := range list {
		if len(p) == 2 {
			all = append(all, port{fmt.Sprint(p[0]), fmt.Sprint(p[1])})
		}
	}
	return all
}

// parseRich reads a rich rule as firewall-cmd prints it (firewalld.richlanguage(5)):
//
//	rule priority="-1" family="ipv4" source NOT address="10.0.0.0/8" port port="80" protocol="tcp" accept
func parseRich(s string) (rich, error) {
	w, err := words(s)
	if err != nil || len(w) == 0 || w[0] != "rule" {
		return rich{}, fmt.Errorf("cannot read the rich rule %q", s)
	}
	var r rich
	element, attrs := "rule", map[string]string{}
	finish := func() error { return r.element(element, attrs) }
	for _, x := range w[1:] {
		if k, v, ok := strings.Cut(x, "="); ok {
			attrs[k] = v
			continue
		}
		if strings.EqualFold(x, "not") {
			attrs["invert"] = "true"
			continue
		}
		if err := finish(); err != nil {
			return rich{}, fmt.Errorf("cannot read the rich rule %q: %w", s, err)
		}
		element, attrs = x, map[string]string{}
	}
	if err := finish(); err != nil {
		return rich{}, fmt.Errorf("cannot read the rich rule %q: %w", s, err)
	}
	return r, nil
}

func (r *rich) element(name string, a map[string]string) (err error) {
	at := address{Address: a["address"], MAC: a["mac"], IPSet: a["ipset"], Invert: a["invert"]}
	switch name {
	case "rule":
		r.Family = a["family"]
		r.Priority, err = strconv.Atoi(cmp.Or(a["priority"], "0"))
	case "source":
		r.Source = &at
	case "destination":
		r.Destination = &at
	case "service":
		r.Service = &named{a["name"]}
	case "port":
		r.Port = &port{a["port"], a["protocol"]}
	case "source-port":
		r.FromPort = &port{a["port"], a["protocol"]}
	case "protocol":
		r.Protocol = &value{a["value"]}
	case "accept":
		r.Accept = &struct{}{}
	case "reject":
		r.Reject = &struct{}{}
	case "drop":
		r.Drop = &struct{}{}
	case "icmp-block", "icmp-type", "forward-port", "masquerade":
		r.ICMPBlock = &struct{}{} // whichever: nothing that comes to a port of the host
	case "log", "audit", "nflog", "mark", "limit", "tcp-mss-clamp":
	default:
		err = fmt.Errorf("unknown element %q", name)
	}
	return err
}
