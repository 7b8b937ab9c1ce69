package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Announcer tells the neighbours of a link which addresses it has, unasked, so that those
// that remember another link address for them learn the present one: by ARP requests for
// the own address (RFC 5227, section 3) and neighbour advertisements (RFC 4861, section
// 7.2.6).
type Announcer struct {
	arp, ndp int // sockets in the namespace; -1: none
	index    int
	mac      net.HardwareAddr
	to       []netip.Addr
}

// NewAnnouncer returns the announcer of link name in the namespace, for addresses.
func NewAnnouncer(ns *os.File, name string, mac net.HardwareAddr, addresses []netip.Addr) (*Announcer, error) {
	a := &Announcer{arp: -1, ndp: -1, mac: mac, to: addresses}
	err := In(ns, func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		a.index = link.Index
		for _, addr := range addresses {
			if addr.Is4() && a.arp < 0 {
				a.arp, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			} else if addr.Is6() && a.ndp < 0 {
				a.ndp, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("cannot announce the addresses of %s: %w", name, err)
	}
	return a, nil
}

// Send sends one message for each address.
func (a *Announcer) Send() error {
	var errs []error
	for _, addr := range a.to {
		if addr.Is4() {
			errs = append(errs, a.sendARP(addr))
		} else {
			errs = append(errs, a.sendAdvertisement(addr))
		}
	}
	return errors.Join(errs...)
}

// Close closes the sockets.
func (a *Announcer) Close() {
	for _, fd := range []int{a.arp, a.ndp} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	a.arp, a.ndp = -1, -1
}

func (a *Announcer) sendARP(addr netip.Addr) error {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, request
	p = append(append(p, a.mac...), addr.AsSlice()...)
	p = append(append(p, make([]byte, 6)...), addr.AsSlice()...)
	to := &unix.SockaddrLinklayer{Ifindex: a.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		Protocol: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP))}
	return unix.Sendto(a.arp, p, 0, to)
}

func (a *Announcer) sendAdvertisement(addr netip.Addr) error {
	const override = 0x20
	p := []byte{136, 0, 0, 0, override, 0, 0, 0} // the kernel computes the checksum
	p = append(p, addr.AsSlice()...)
	p = append(append(p, 2, 1), a.mac...) // the link address follows
	// From the address itself, with the hop limit that shows it has crossed no router.
	info := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo)+unix.CmsgSpace(4))
	h := func(b []byte, kind, size int) []byte {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(size)))
		binary.NativeEndian.PutUint32(b[8:], unix.IPPROTO_IPV6)
		binary.NativeEndian.PutUint32(b[12:], uint32(kind))
		return b[unix.CmsgLen(0):]
	}
	d := h(info, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	copy(d, addr.AsSlice())
	binary.NativeEndian.PutUint32(d[16:], uint32(a.index))
	binary.NativeEndian.PutUint32(h(info[unix.CmsgSpace(unix.SizeofInet6Pktinfo):], unix.IPV6_HOPLIMIT, 4), 255)
	all := &unix.SockaddrInet6{ZoneId: uint32(a.index), Addr: netip.IPv6LinkLocalAllNodes().As16()}
	return unix.Sendmsg(a.ndp, p, info, all, 0)
}
