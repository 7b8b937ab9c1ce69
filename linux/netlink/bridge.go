package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
)

// Bridge is a Linux bridge.
type Bridge struct {
	Name      string
	MAC       net.HardwareAddr // of one that is made
	MTU       int              // of one that is made; 0: the kernel's choice
	Group     uint32           // of links, of one that is made; 0: the kernel's choice
	Addresses []netip.Prefix   // IPv4 and IPv6
	Keep      bool             // leave other addresses that it has alone
}

// Ensure makes sure that the bridge exists with exactly its addresses and is up, and
// returns its link index. made says whether it was not there before: then it has the link
// address MAC. One without takes the least of its ports', so that it changes as containers
// come and go, and those that remember the old one reach nobody for a while.
func (b *Bridge) Ensure() (index int, made bool, err error) {
	l, err := netlink.LinkByName(b.Name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		made = true
		attrs := netlink.LinkAttrs{Name: b.Name, HardwareAddr: b.MAC, MTU: b.MTU, Group: b.Group, TxQLen: -1}
		if err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err == nil {
			l, err = netlink.LinkByName(b.Name)
		}
	}
	if err != nil {
		return 0, false, fmt.Errorf("cannot make bridge %s: %w", b.Name, err)
	}
	if l.Type() != "bridge" {
		return 0, false, fmt.Errorf("cannot use link %s: it is a %s, not a bridge", b.Name, l.Type())
	}
	if err := b.configure(l, made); err != nil {
		if made {
			err = errors.Join(err, DelLink(b.Name))
		}
		return 0, false, err
	}
	return l.Attrs().Index, made, nil
}

func (b *Bridge) configure(l netlink.Link, made bool) error {
	if err := b.ipv6(made); err != nil {
		return err
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		if err := b.address(l, family); err != nil {
			return fmt.Errorf("cannot give bridge %s its addresses %s: %w", b.Name, b.Addresses, err)
		}
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("cannot bring %s up: %w", b.Name, err)
	}
	return nil
}

// ipv6 turns IPv6 on for a bridge that has such an address, and off for one that is
// made without: a container must not reach the host by link-local addresses.
func (b *Bridge) ipv6(made bool) error {
	on := slices.ContainsFunc(b.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() })
	conf := "/proc/sys/net/ipv6/conf/" + b.Name + "/"
	var err error
	switch {
	case on:
		if err = os.WriteFile(conf+"disable_ipv6", []byte("0"), 0); err == nil {
			err = os.WriteFile(conf+"accept_ra", []byte("0"), 0)
		}
	case made:
		if err = os.WriteFile(conf+"disable_ipv6", []byte("1"), 0); errors.Is(err, os.ErrNotExist) {
			err = nil // a kernel without IPv6
		}
	}
	if err != nil {
		return fmt.Errorf("cannot set up IPv6 for bridge %s: %w", b.Name, err)
	}
	return nil
}

func (b *Bridge) address(l netlink.Link, family int) error {
	have, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, family) })
	if err != nil {
		return err
	}
	var there []netip.Prefix
	for _, a := range have {
		p, err := netip.ParsePrefix(a.IPNet.String())
		switch {
		case err == nil && slices.Contains(b.Addresses, p):
			there = append(there, p)
		case b.Keep || p.Addr().IsLinkLocalUnicast():
		default:
			if err := netlink.AddrDel(l, &a); err != nil {
				return err
			}
		}
	}
	for _, p := range b.Addresses {
		if p.Addr().Is4() != (family == netlink.FAMILY_V4) || slices.Contains(there, p) {
			continue
		}
		if err := netlink.AddrAdd(l, address(p)); err != nil {
			return err
		}
	}
	return nil
}

// Addresses returns the addresses of link name, without IPv6 link-local ones; ok is
// false when it does not exist.
func Addresses(name string) (ps []netip.Prefix, ok bool) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, false
	}
	as, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, false
	}
	for _, a := range as {
		if p, err := netip.ParsePrefix(a.IPNet.String()); err == nil && !(p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
			ps = append(ps, p)
		}
	}
	return ps, true
}

// Index returns the index of link name of the caller's namespace.
func Index(name string) (int, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

// Ports returns the names of the links that are ports of the bridge with this index.
func Ports(bridge int) ([]string, error) {
	ls, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("cannot list links: %w", err)
	}
	var names []string
	for _, l := range ls {
		if l.Attrs().MasterIndex == bridge {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// Plug makes the link name a port of the bridge with this index. With back that may
// send what came from it back to it.
func Plug(name string, bridge int, back bool) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetMasterByIndex(l, bridge)
	}
	if err == nil && back {
		err = netlink.LinkSetHairpin(l, true)
	}
	if err != nil {
		return fmt.Errorf("cannot make link %s a port of its bridge: %w", name, err)
	}
	return nil
}
