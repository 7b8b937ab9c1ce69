package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hoy/lib/fault"
	"hoy/network/firewall"
)

// settings are what the options of a network's driver say.
type settings struct {
	link     string // name of the bridge
	mtu      int
	noICC    bool
	noMasq   bool
	mode     firewall.Mode
	mode6    firewall.Mode
	trusted  []string
	inhibit  bool       // the bridge has no IPv4 address
	bind     netip.Addr // where ports are published by default
	source   netip.Addr // of what leaves
	source6  netip.Addr
	prefix   string // of the links' names in containers
	parent   string // of macvlan and ipvlan; "": nothing outside
	submode  string
	flag     string
	announce announcement
}

// option reads one option into the settings.
type option func(s *settings, value string) error

// options of docker's drivers, all that have an effect.
var (
	commonOptions = map[string]option{
		"com.docker.network.driver.mtu":             func(s *settings, v string) (err error) { s.mtu, err = number(v, 0, 65535); return err },
		"com.docker.network.container_iface_prefix": func(s *settings, v string) error { s.prefix = v; return validLink(v + "0") },
		"com.docker.network.enable_ipv4":            func(*settings, string) error { return nil }, // read by family
		"com.docker.network.enable_ipv6":            func(*settings, string) error { return nil },
		"com.docker.network.advertise_addr_nmsgs":   func(s *settings, v string) error { return s.announce.readCount(v) },
		"com.docker.network.advertise_addr_ms":      func(s *settings, v string) error { return s.announce.readInterval(v) },
	}
	bridgeOptions = map[string]option{
		"com.docker.network.bridge.name":                 func(s *settings, v string) error { s.link = v; return validLink(v) },
		"com.docker.network.bridge.enable_icc":           func(s *settings, v string) error { return not(&s.noICC, v) },
		"com.docker.network.bridge.enable_ip_masquerade": func(s *settings, v string) error { return not(&s.noMasq, v) },
		"com.docker.network.bridge.gateway_mode_ipv4":    func(s *settings, v string) error { return gatewayMode(&s.mode, v) },
		"com.docker.network.bridge.gateway_mode_ipv6":    func(s *settings, v string) error { return gatewayMode(&s.mode6, v) },
		"com.docker.network.bridge.inhibit_ipv4":         func(s *settings, v string) (err error) { s.inhibit, err = strconv.ParseBool(v); return err },
		"com.docker.network.bridge.default_bridge":       func(_ *settings, v string) error { _, err := strconv.ParseBool(v); return err },
		"com.docker.network.bridge.host_binding_ipv4":    func(s *settings, v string) error { a, err := netip.ParseAddr(v); s.bind = a.Unmap(); return err },
		"com.docker.network.host_ipv4":                   func(s *settings, v string) (err error) { s.source, err = netip.ParseAddr(v); return err },
		"com.docker.network.host_ipv6":                   func(s *settings, v string) (err error) { s.source6, err = netip.ParseAddr(v); return err },
		"com.docker.network.bridge.trusted_host_interfaces": func(s *settings, v string) error {
			s.trusted = strings.FieldsFunc(v, func(r rune) bool { return r == ':' })
			return nil
		},
	}
	macvlanOptions = map[string]option{
		"parent":       func(s *settings, v string) error { s.parent = v; return nil },
		"macvlan_mode": func(s *settings, v string) error { s.submode = v; return nil },
	}
	ipvlanOptions = map[string]option{
		"parent":      func(s *settings, v string) error { s.parent = v; return nil },
		"ipvlan_mode": func(s *settings, v string) error { s.submode = v; return nil },
		"ipvlan_flag": func(s *settings, v string) error { s.flag = v; return nil },
	}
	driverOptions = map[string]map[string]option{"bridge": bridgeOptions, "macvlan": macvlanOptions, "ipvlan": ipvlanOptions}
)

// readSettings reads a network's options. warnings name those without an effect.
func readSettings(driver string, options map[string]string) (s settings, warnings []string, err error) {
	s.announce = announcement{count: maxAnnouncements, interval: 1000}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		read, known := driverOptions[driver][name]
		if !known {
			read, known = commonOptions[name]
		}
		if !known {
			warnings = append(warnings, fmt.Sprintf("option %s has no effect: it is not one of driver %s", name, driver))
			continue
		}
		if err := read(&s, options[name]); fault.Is(err, fault.Invalid) {
			return s, nil, err // it says all
		} else if err != nil {
			return s, nil, fault.New(fault.Invalid, "failed to parse %s value: %s (%w)", name, options[name], err)
		}
	}
	return s, warnings, nil
}

// number parses a number in a range.
func number(v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err == nil && (n < low || n > high) {
		err = fmt.Errorf("must be in the range %d to %d", low, high)
	}
	return n, err
}

func not(field *bool, v string) error {
	on, err := strconv.ParseBool(v)
	*field = !on
	return err
}

func gatewayMode(field *firewall.Mode, v string) error {
	*field = firewall.Mode(v)
	switch *field {
	case firewall.NAT, firewall.NATUnprotected, firewall.Routed, firewall.Isolated:
		return nil
	}
	return fmt.Errorf("unknown gateway mode %s", v)
}

// validLink tells what is wrong with the name of a link (dev_valid_name in the kernel).
func validLink(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r") {
		return fmt.Errorf("%q cannot be the name of a link: it has 1 to 15 characters, without slash, colon and space", name)
	}
	return nil
}

// maxAnnouncements bounds announcement.count.
const maxAnnouncements = 3

// announcement says how an endpoint tells its neighbours its addresses.
type announcement struct {
	count    int // of messages
	interval int // between them, ms
}

func (a *announcement) readCount(v string) (err error) {
	const name = "com.docker.network.advertise_addr_nmsgs"
	if a.count, err = strconv.Atoi(v); err != nil {
		return fault.New(fault.Invalid, "value for option %s %q must be an integer", name, v)
	}
	if a.count < 0 || a.count > maxAnnouncements {
		return fault.New(fault.Invalid, "%s must be in the range 0 to 3", name)
	}
	return nil
}

func (a *announcement) readInterval(v string) (err error) {
	const name = "com.docker.network.advertise_addr_ms"
	if a.interval, err = strconv.Atoi(v); err != nil {
		return fault.New(fault.Invalid, "value for option %s %q must be integer milliseconds", name, v)
	}
	if a.interval < 100 || a.interval > 2000 {
		return fault.New(fault.Invalid, "%s must be in the range 100 to 2000", name)
	}
	return nil
}
