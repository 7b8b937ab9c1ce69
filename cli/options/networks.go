package options

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// attachment is one --network.
type attachment struct {
	name string
	ep   network.EndpointSettings
}

// networks is the flag --network.
type networks struct{ v []attachment }

func (n *networks) Type() string   { return "network" }
func (n *networks) String() string { return "" }

func (n *networks) Set(s string) error {
	a, err := parseNetwork(s)
	if err != nil {
		return err
	}
	n.v = append(n.v, a)
	return nil
}

const networkExample = "write a network's name, or name=web,alias=db,ip=172.20.0.5"

// parseNetwork reads a network's name, or name=…,alias=…,ip=…
func parseNetwork(s string) (a attachment, err error) {
	if !strings.Contains(s, "=") {
		if strings.TrimSpace(s) == "" {
			return a, fmt.Errorf("the network's name is empty: %s", networkExample)
		}
		return attachment{name: s}, nil
	}
	fs, err := fields(s)
	if err != nil {
		return a, err
	}
	for _, f := range fs {
		k, v, has := strings.Cut(f, "=")
		if !has {
			return a, fmt.Errorf("invalid key/value pair format in %q: %s", f, networkExample)
		}
		if err := a.field(strings.ToLower(strings.TrimSpace(k)), strings.TrimSpace(v)); err != nil {
			return a, fmt.Errorf("%q: %w: %s", s, err, networkExample)
		}
	}
	if a.name == "" {
		return a, fmt.Errorf("network name/id is not specified in %q: %s", s, networkExample)
	}
	return a, nil
}

func (a *attachment) field(k, v string) (err error) {
	switch k {
	case "name":
		a.name = v
	case "alias":
		a.ep.Aliases = append(a.ep.Aliases, strings.ToLower(v))
	case "driver-opt":
		key, val, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return fmt.Errorf("driver-opt %q is not key=value", v)
		}
		if a.ep.DriverOpts == nil {
			a.ep.DriverOpts = map[string]string{}
		}
		a.ep.DriverOpts[strings.ToLower(key)] = strings.ToLower(val)
	case "ip", "ip6", "link-local-ip":
		addr, err := netip.ParseAddr(v)
		if err != nil || k == "ip" && !addr.Is4() || k == "ip6" && !addr.Is6() {
			return fmt.Errorf("%q is no address for %s", v, k)
		}
		a.setAddress(k, addr)
	case "mac-address":
		hw, err := net.ParseMAC(v)
		if err != nil {
			return fmt.Errorf("%q is no MAC address, like 02:42:ac:11:00:02", v)
		}
		a.ep.MacAddress = network.HardwareAddr(hw)
	case "gw-priority":
		if a.ep.GwPriority, err = strconv.Atoi(v); err != nil {
			return fmt.Errorf("invalid gw-priority (%s): it is a number", v)
		}
	default:
		return fmt.Errorf("invalid key %q: the keys are name, alias, driver-opt, ip, ip6, link-local-ip, mac-address, gw-priority", k)
	}
	return nil
}

func (a *attachment) setAddress(k string, addr netip.Addr) {
	if a.ep.IPAMConfig == nil {
		a.ep.IPAMConfig = &network.EndpointIPAMConfig{}
	}
	switch k {
	case "ip":
		a.ep.IPAMConfig.IPv4Address = addr
	case "ip6":
		a.ep.IPAMConfig.IPv6Address = addr
	default:
		a.ep.IPAMConfig.LinkLocalIPs = append(a.ep.IPAMConfig.LinkLocalIPs, addr)
	}
}

// endpoints returns the network mode, which is the first network, and the
// endpoints. The flags for one network (--ip, --network-alias, …) concern the first.
func (o *Create) endpoints() (container.NetworkMode, *network.NetworkingConfig, error) {
	all := o.network.v
	if len(all) == 0 {
		all = []attachment{{name: "default"}}
	}
	endpoints := map[string]*network.EndpointSettings{}
	own, builtin := false, false
	for i, a := range all {
		if i == 0 {
			if err := o.firstNetwork(&a); err != nil {
				return "", nil, err
			}
		}
		if mode := container.NetworkMode(a.name); mode.IsUserDefined() {
			own = true
		} else {
			builtin = true
			if a.configured() && !mode.IsDefault() && !mode.IsBridge() {
				return "", nil, fmt.Errorf("conflicting options: the network %q takes no address, alias or other setting", a.name)
			}
		}
		if _, twice := endpoints[a.name]; twice {
			return "", nil, fmt.Errorf("conflicting options: the network %q is given twice", a.name)
		}
		endpoints[a.name] = &a.ep
	}
	if own && builtin {
		return "", nil, errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	}
	if len(all) == 1 && !(&attachment{ep: *endpoints[all[0].name]}).configured() {
		return container.NetworkMode(all[0].name), nil, nil
	}
	return container.NetworkMode(all[0].name), &network.NetworkingConfig{EndpointsConfig: endpoints}, nil
}

func (a *attachment) configured() bool {
	return !reflect.DeepEqual(a.ep, network.EndpointSettings{})
}

// firstNetwork applies the flags that say something about one network.
func (o *Create) firstNetwork(a *attachment) error {
	conflict := func(flag, key string) error {
		return fmt.Errorf("conflicting options: cannot specify both --%s and %s= of --network", flag, key)
	}
	for _, f := range []struct {
		flag, key, value string
		set              bool
	}{
		{"ip", "ip", o.ip, a.ep.IPAMConfig != nil && a.ep.IPAMConfig.IPv4Address.IsValid()},
		{"ip6", "ip6", o.ip6, a.ep.IPAMConfig != nil && a.ep.IPAMConfig.IPv6Address.IsValid()},
		{"mac-address", "mac-address", o.mac, a.ep.MacAddress != nil},
	} {
		if f.value == "" {
			continue
		}
		if f.set {
			return conflict(f.flag, f.key)
		}
		if err := a.field(f.key, f.value); err != nil {
			return fmt.Errorf("invalid argument for --%s: %w", f.flag, err)
		}
	}
	if len(o.networkAlias.v) > 0 {
		if len(a.ep.Aliases) > 0 {
			return conflict("network-alias", "alias")
		}
		a.ep.Aliases = o.networkAlias.v
	}
	for _, ip := range o.linkLocalIP.v {
		if err := a.field("link-local-ip", ip); err != nil {
			return err
		}
	}
	if len(o.link.v) > 0 && container.NetworkMode(a.name).IsUserDefined() {
		a.ep.Links = o.link.v
	}
	return nil
}

func checkIP(s string) (string, error) {
	if _, err := netip.ParseAddr(strings.TrimSpace(s)); err != nil {
		return "", fmt.Errorf("%s is not an ip address: write one like 10.0.0.2 or fd00::2", s)
	}
	return strings.TrimSpace(s), nil
}

func checkSearch(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "." {
		return s, nil
	}
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return "", fmt.Errorf("%s is not a valid domain: write one like example.com, or . for none", s)
		}
	}
	return s, nil
}

// checkHost wants name:ip or name=ip, where ip may be host-gateway, and returns
// name:ip.
func checkHost(s string) (string, error) {
	name, ip, ok := strings.Cut(s, "=")
	if !ok {
		name, ip, ok = strings.Cut(s, ":")
	}
	if !ok || name == "" {
		return "", fmt.Errorf("bad format for add-host: %q: write name:ip, like db:10.0.0.2", s)
	}
	if ip != "host-gateway" {
		bare := strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")
		if _, err := netip.ParseAddr(bare); err != nil {
			return "", fmt.Errorf("invalid IP address in add-host: %q: write name:ip, like db:10.0.0.2, or name:host-gateway", ip)
		}
		ip = bare
	}
	return name + ":" + ip, nil
}
