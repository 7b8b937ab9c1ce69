// Package netlink makes network namespaces, bridges and virtual Ethernet pairs.
package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NewNamespace makes a network namespace, which lives as long as the descriptor
// or a process in it. Its links are down.
func NewNamespace() (*os.File, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot make a network namespace: unshare: %w", err)
		}
		var err error
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// In runs f on a thread that is in the network namespace ns.
func In(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter the network namespace: setns: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own and puts that back into the caller's
// network namespace. A thread that can't be put back is ended, not reused.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer unix.Close(home)
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Veth describes a pair of virtual Ethernet links: Host becomes a port of the
// bridge with index Bridge, Peer is in Namespace and has Address, MAC and a
// default route by Gateway (none if invalid). MTU 0 is the kernel's default.
type Veth struct {
	Host, Peer string
	Bridge     int
	Namespace  *os.File
	Address    netip.Prefix
	Gateway    netip.Addr
	MAC        net.HardwareAddr
	MTU        int
}

// Add makes the pair, and brings both ends and the loopback link of the namespace
// up. IPv6 stays off in the namespace: an IPv4-only network must not announce
// itself by link-local addresses. A failure leaves nothing.
func (v Veth) Add() error {
	err := In(v.Namespace, func() error {
		// Before the link exists, so that it is born without IPv6. No file: a kernel without IPv6.
		err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot turn IPv6 off: %w", err)
	}
	if _, err := v.request().Execute(unix.NETLINK_ROUTE, 0); err != nil {
		if errors.Is(err, unix.EXFULL) || errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("cannot add link %s to the bridge: a Linux bridge has at most 1,023 ports: %w", v.Host, err)
		}
		return fmt.Errorf("cannot add link %s: %w", v.Host, err)
	}
	if err := v.configure(); err != nil {
		return errors.Join(err, DelLink(v.Host))
	}
	return nil
}

// request is the message that makes the pair, its host end a port and up, in one
// (rtnetlink(7), RTM_NEWLINK). The library would send three, each under the lock that
// all network configuration of the machine waits for.
func (v Veth) request() *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Flags, head.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(head)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Host)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(v.Bridge))))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Peer))
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(v.Namespace.Fd())))
	if v.MAC != nil {
		peer.AddRtAttr(unix.IFLA_ADDRESS, v.MAC)
	}
	if v.MTU > 0 {
		mtu := nl.Uint32Attr(uint32(v.MTU))
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, mtu))
		peer.AddRtAttr(unix.IFLA_MTU, mtu)
	}
	req.AddData(info)
	return req
}

func (v Veth) configure() error {
	h, err := netlink.NewHandleAt(netns.NsHandle(v.Namespace.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open netlink in the namespace: %w", err)
	}
	defer h.Close()
	if err := loopback(h); err != nil {
		return err
	}
	peer, err := h.LinkByName(v.Peer)
	if err != nil {
		return fmt.Errorf("cannot find link %s in the namespace: %w", v.Peer, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(v.Address), Broadcast: Broadcast(v.Address).AsSlice()}
	if err := h.AddrAdd(peer, addr); err != nil {
		return fmt.Errorf("cannot add address %s to %s: %w", v.Address, v.Peer, err)
	}
	if err := h.LinkSetUp(peer); err != nil {
		return fmt.Errorf("cannot bring %s up: %w", v.Peer, err)
	}
	if !v.Gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: peer.Attrs().Index, Gw: v.Gateway.AsSlice()}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("cannot add the default route by %s: %w", v.Gateway, err)
	}
	return nil
}

// LoopbackUp brings the loopback link of a namespace up.
func LoopbackUp(ns *os.File) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot open netlink in the namespace: %w", err)
	}
	defer h.Close()
	return loopback(h)
}

// loopback brings the loopback link up, which is number 1 in every namespace.
func loopback(h *netlink.Handle) error {
	if err := h.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}); err != nil {
		return fmt.Errorf("cannot bring lo up: %w", err)
	}
	return nil
}

// DelLink removes a link of the caller's namespace; one that is not there is no error.
func DelLink(name string) error {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("cannot remove link %s: %w", name, err)
	}
	return nil
}

// Bridge makes sure that the bridge name exists with exactly this IPv4 address and
// is up, and returns its link index. made says whether it was not there before: then it
// has the link address mac. One without takes the least of its ports', so that it changes
// as containers come and go, and those that remember the old one reach nobody for a while.
func Bridge(name string, address netip.Prefix, mac net.HardwareAddr, mtu int) (index int, made bool, err error) {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		made = true
		attrs := netlink.LinkAttrs{Name: name, HardwareAddr: mac, MTU: mtu, TxQLen: -1}
		if err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err == nil {
			l, err = netlink.LinkByName(name)
		}
	}
	if err != nil {
		return 0, false, fmt.Errorf("cannot make bridge %s: %w", name, err)
	}
	if l.Type() != "bridge" {
		return 0, false, fmt.Errorf("cannot use link %s: it is a %s, not a bridge", name, l.Type())
	}
	if err := bridgeAddress(l, address); err != nil {
		return 0, false, fmt.Errorf("cannot give bridge %s the address %s: %w", name, address, err)
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return 0, false, fmt.Errorf("cannot bring %s up: %w", name, err)
	}
	return l.Attrs().Index, made, nil
}

func bridgeAddress(l netlink.Link, want netip.Prefix) error {
	have, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range have {
		if a.IPNet.String() == want.String() {
			return nil
		}
		if err := netlink.AddrDel(l, &a); err != nil {
			return err
		}
	}
	return netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(want)})
}

// BridgeAddress returns the first IPv4 address of link name; ok is false when the
// link does not exist or has none.
func BridgeAddress(name string) (address netip.Prefix, ok bool) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return netip.Prefix{}, false
	}
	as, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil || len(as) == 0 {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(as[0].IPNet.String())
	return p, err == nil
}

// Routes returns the IPv4 destinations, other than the default, that this machine
// routes: a new network must not overlap them.
func Routes() ([]netip.Prefix, error) {
	rs, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("cannot list routes: %w", err)
	}
	var ps []netip.Prefix
	for _, r := range rs {
		if r.Dst == nil {
			continue
		}
		if p, err := netip.ParsePrefix(r.Dst.String()); err == nil && p.Bits() > 0 {
			ps = append(ps, p)
		}
	}
	return ps, nil
}

// Ports returns the names of the links that are ports of the bridge with this index.
func Ports(bridge int) ([]string, error) {
	ls, err := netlink.LinkList()
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

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Broadcast returns the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(a)
}
