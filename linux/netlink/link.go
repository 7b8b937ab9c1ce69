package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
)

// Kind says what a link is, as ip-link(8) does.
type Kind string

// The kinds of links that containers have.
const (
	Veth    Kind = "veth"
	Macvlan Kind = "macvlan"
	Ipvlan  Kind = "ipvlan"
)

// Link is a container's link. Name is its name in Namespace. That of kind Veth is one end
// of a pair, whose other end Host is a port of the bridge with index Parent. Those of the
// other kinds share the link with index Parent, in the Mode that the kind has.
type Link struct {
	Kind      Kind
	Host      string
	Name      string
	Parent    int
	Mode      uint16 // of Macvlan (MACVLAN_MODE_…) and Ipvlan (IPVLAN_MODE_…)
	Flag      uint16 // of Ipvlan (IPVLAN_F_…)
	Namespace *os.File
	MAC       net.HardwareAddr // nil: the kernel's choice
	MTU       int              // 0: the kernel's choice
	Hairpin   bool             // of Veth: the bridge may send what came from it back to it

	Addresses []netip.Prefix // without an IPv6 one the link has no IPv6 at all
	Gateway   netip.Addr     // of the default route; invalid: none; unspecified: the link itself
	Gateway6  netip.Addr
	Sysctls   map[string]string // "net/ipv4/conf/eth0/forwarding" to its value
}

// Add makes the link, and brings it, its other end and the loopback link of the
// namespace up. A failure leaves nothing.
func (l *Link) Add() error {
	if _, err := l.request().Execute(unix.NETLINK_ROUTE, 0); err != nil {
		switch {
		case l.Kind == Veth && (errors.Is(err, unix.EXFULL) || errors.Is(err, unix.EBUSY)):
			return fmt.Errorf("cannot add link %s to the bridge: a Linux bridge has at most 1,023 ports: %w", l.Host, err)
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("cannot add link %s: this kernel has no %s links: %w", l.Name, l.Kind, err)
		case errors.Is(err, unix.EEXIST):
			return fmt.Errorf("cannot add link %s: the container has one of this name: %w", l.Name, err)
		}
		return fmt.Errorf("cannot add link %s: %w", l.Name, err)
	}
	err := inside(l.Namespace, l.configure)
	if err == nil && l.Hairpin {
		err = hairpin(l.Host)
	}
	if err != nil {
		return errors.Join(err, l.Remove())
	}
	return nil
}

func hairpin(name string) error {
	port, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetHairpin(port, true)
	}
	if err != nil {
		return fmt.Errorf("cannot let the bridge send packets of %s back to it: %w", name, err)
	}
	return nil
}

// Remove removes the link; one that is not there is no error.
func (l *Link) Remove() error {
	if l.Kind == Veth {
		return DelLink(l.Host)
	}
	return inside(l.Namespace, func(h *netlink.Handle) error { return delLink(h, l.Name) })
}

// request is the message that makes the link, its host's end a port and up, in one
// (rtnetlink(7), RTM_NEWLINK). The library would send three, each under the lock that
// all network configuration of the machine waits for.
func (l *Link) request() *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	req.AddData(head)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(string(l.Kind)))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	own := func(a *nl.RtAttr) { req.AddData(a) } // adds to the container's end
	switch l.Kind {
	case Veth:
		head.Flags, head.Change = unix.IFF_UP, unix.IFF_UP
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Host)))
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(l.Parent))))
		if l.MTU > 0 {
			req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
		}
		peer := data.AddRtAttr(nl.VETH_INFO_PEER, nil)
		nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
		own = func(a *nl.RtAttr) { peer.AddChild(a) }
	case Macvlan:
		req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(l.Parent))))
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(uint32(l.Mode)))
	case Ipvlan:
		req.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(l.Parent))))
		data.AddRtAttr(nl.IFLA_IPVLAN_MODE, nl.Uint16Attr(l.Mode))
		data.AddRtAttr(nl.IFLA_IPVLAN_FLAG, nl.Uint16Attr(l.Flag))
	}
	own(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)))
	own(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(l.Namespace.Fd()))))
	if l.MAC != nil {
		own(nl.NewRtAttr(unix.IFLA_ADDRESS, l.MAC))
	}
	if l.MTU > 0 {
		own(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	req.AddData(info)
	return req
}

// configure gives the link what it has, in its namespace.
func (l *Link) configure(h *netlink.Handle) error {
	if err := loopback(h); err != nil {
		return err
	}
	link, err := h.LinkByName(l.Name)
	if err != nil {
		return fmt.Errorf("cannot find link %s in the namespace: %w", l.Name, err)
	}
	// Before it is up: a link without IPv6 must not announce itself by link-local addresses.
	if err := l.ipv6(); err != nil {
		return err
	}
	for _, p := range l.Addresses {
		if err := h.AddrAdd(link, address(p)); err != nil {
			return fmt.Errorf("cannot add address %s to %s: %w", p, l.Name, err)
		}
	}
	for name, value := range l.Sysctls {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
			return fmt.Errorf("cannot set sysctl %s to %s: %w", name, value, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot bring %s up: %w", l.Name, err)
	}
	for _, g := range []netip.Addr{l.Gateway, l.Gateway6} {
		if err := addDefault(h, link.Attrs().Index, g); err != nil {
			return err
		}
	}
	return nil
}

// ipv6 turns IPv6 on or off for the link. No file: a kernel without IPv6.
func (l *Link) ipv6() error {
	off := "1"
	for _, p := range l.Addresses {
		if p.Addr().Is6() {
			off = "0"
		}
	}
	conf := "/proc/sys/net/ipv6/conf/" + l.Name + "/"
	err := os.WriteFile(conf+"disable_ipv6", []byte(off), 0)
	if off == "1" {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = failpoint.Hit(failpoint.NetworkSilenced, l.Name)
		}
		if err != nil {
			return fmt.Errorf("cannot disable IPv6 on %s: %w", l.Name, err)
		}
		return nil
	}
	if err == nil {
		err = os.WriteFile(conf+"accept_ra", []byte("0"), 0) // its routes are given, not announced
	}
	if err != nil {
		return fmt.Errorf("cannot enable IPv6 on %s: %w", l.Name, err)
	}
	return nil
}

// DelLink removes a link of the caller's namespace; one that is not there is no error.
func DelLink(name string) error { return delLink(&netlink.Handle{}, name) }

func delLink(h *netlink.Handle, name string) error {
	l, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		if err = h.LinkDel(l); errors.Is(err, unix.ENODEV) {
			return nil // the other end's namespace took it away meanwhile
		}
	}
	if err != nil {
		return fmt.Errorf("cannot remove link %s: %w", name, err)
	}
	return nil
}

// address is p as the address of a link. IPv6 ones are not looked for at the neighbours
// first, which would take seconds: nobody else is given them.
func address(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	} else if p.Bits() < 31 {
		a.Broadcast = Broadcast(p).AsSlice()
	}
	return a
}

// Broadcast returns the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(a)
}
