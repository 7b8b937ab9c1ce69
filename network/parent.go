package network

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"hoy/lib/fault"
	"hoy/linux/netlink"
)

// Networks of the drivers macvlan and ipvlan share a link of the host, their parent. A
// parent called eth0.10 that is not there is made, as VLAN 10 of eth0; where none is named
// a dummy link is, so that the network leads nowhere. What was made goes with the last
// network that has it.

// shared decides on the parent.
func (p *plan) shared(w *world) error {
	kind, modes, usual := netlink.Macvlan, macvlanModes, "bridge"
	if p.Driver == "ipvlan" {
		kind, modes, usual = netlink.Ipvlan, ipvlanModes, "l2"
	}
	if _, ok := modes[p.submode]; !ok {
		return fault.New(fault.Invalid, "requested %s mode '%s' is not valid, '%s' mode is the %s driver default", p.Driver, p.submode, usual, p.Driver)
	}
	if _, ok := ipvlanFlags[p.flag]; !ok {
		return fault.New(fault.Invalid, "requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default", p.flag)
	}
	if p.parent == "lo" {
		return fault.New(fault.Invalid, "loopback interface is not a valid %s parent link", p.Driver)
	}
	if !netlink.Supports(kind) {
		return fault.New(fault.NotImplemented, "cannot create a network of driver %s: this kernel has no %s links (CONFIG_%s)", p.Driver, p.Driver, strings.ToUpper(p.Driver))
	}
	if p.Link = p.parent; p.Link == "" {
		p.Link = "dm-" + p.ID[:12]
	}
	for _, other := range w.networks {
		if err := p.besides(other); err != nil {
			return err
		}
	}
	return nil
}

// besides refuses a network that cannot share its parent with another.
func (p *plan) besides(other *Network) error {
	if other.Link != p.Link || other.Driver == "bridge" || p.parent == "" {
		return nil
	}
	switch {
	case p.Driver == "ipvlan" && other.Driver == "ipvlan":
		return fault.New(fault.Conflict, "network %s is already using parent interface %s", other.Name, p.parent)
	case p.Driver != other.Driver:
		return fault.New(fault.Conflict, "network %s of driver %s is already using parent interface %s: macvlan and ipvlan cannot share one", other.Name, other.Driver, p.parent)
	case p.submode == "passthru":
		return fault.New(fault.Conflict, "cannot use mode passthru, macvlan network %s is already using parent interface %s", other.Name, p.parent)
	case other.Options["macvlan_mode"] == "passthru":
		return fault.New(fault.Conflict, "macvlan network %s is already using parent interface %s in mode passthru", other.Name, p.parent)
	}
	return nil
}

// upParent finds the link that the network shares, or makes it.
func (s *segment) upParent() (int, error) {
	if index, err := netlink.Index(s.Link); err == nil {
		return index, nil
	}
	if s.parent == "" {
		index, err := netlink.AddDummy(s.Link)
		if errors.Is(err, netlink.ErrUnsupported) {
			err = fault.New(fault.NotImplemented, "cannot create a %s network without a parent: this kernel has no dummy links (CONFIG_DUMMY): name a link by -o parent=", s.Driver)
		}
		return index, err
	}
	above, id, err := vlan(s.parent)
	if err != nil {
		return 0, err
	}
	index, err := netlink.AddVLAN(s.parent, above, id)
	if errors.Is(err, netlink.ErrUnsupported) {
		err = fault.New(fault.NotImplemented, "cannot make parent interface %s: this kernel has no VLANs (CONFIG_VLAN_8021Q)", s.parent)
	}
	return index, err
}

// vlan reads the name of a VLAN of a link: eth0.10.
func vlan(name string) (above int, id uint16, err error) {
	parts := strings.Split(name, ".")
	switch len(parts) {
	case 1:
		return 0, 0, fault.New(fault.Invalid, "invalid subinterface vlan name %s, example formatting is eth0.10", name)
	case 2:
	default:
		return 0, 0, fault.New(fault.Invalid, "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received %s", name)
	}
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, 0, fault.New(fault.Invalid, "unable to parse a valid vlan id from: %s (ex. eth0.10 for vlan 10)", parts[1])
	}
	if above, err = netlink.Index(parts[0]); err != nil {
		return 0, 0, fault.New(fault.Invalid, "-o parent interface was not found on the host: %s", parts[0])
	}
	if number < 1 || number > 4094 {
		return 0, 0, fault.New(fault.Invalid, "vlan id must be between 1-4094, received: %d", number)
	}
	return above, uint16(number), nil
}

// sharesLink tells whether another network has the same parent; the caller holds mu.
func (n *Networks) sharesLink(s *segment) bool {
	return slices.ContainsFunc(n.all(), func(o *segment) bool { return o != s && o.Link == s.Link && !o.gone })
}
