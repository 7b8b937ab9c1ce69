// Package conntrack has the kernel forget connections that it tracks, by netlink.
package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"hoy/linux/nft"
)

// Flows are the IPv4 connections for which all fields hold. By addresses of IPv6 the kernel
// finds, instead of a connection, all others (ctnetlink_filter_match_tuple, as of 6.18).
type Flows struct {
	Proto byte           // unix.IPPROTO_TCP, …
	To    netip.AddrPort // where the first packet was sent; 0.0.0.0 is every address
	By    netip.AddrPort // who answers: another than To where it is translated
}

// Delete has the flows forgotten, in the network namespace of the calling thread. The
// error of a kernel that cannot find them by itself, as 6.18 can, is
// errors.ErrUnsupported: nothing is deleted then.
//
// The kernel looks through its table for each, which is some 0.1 ms. To read the table is
// fifty times that, since each of its lists is locked in turn, a quarter of a million by
// default, empty ones too, and the processor does nothing else meanwhile.
func Delete(all ...Flows) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("cannot open connection tracking: %w", err)
	}
	defer time.AfterFunc(nft.Linger, func() { c.Close() })
	for _, f := range all {
		m, err := f.message()
		if err == nil {
			_, err = c.Execute(m)
		}
		if errors.Is(err, unix.EINVAL) { // our flows lack what one connection's address has
			err = errors.ErrUnsupported
		}
		if err != nil {
			return fmt.Errorf("cannot delete the connections to %s: %w", f.To, err)
		}
	}
	return nil
}

// What filters name (linux/netfilter/nfnetlink_conntrack.h, and in the kernel's
// net/netfilter/nf_internals.h, which fields of an address are meant).
const (
	deletion = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2 // IPCTNL_MSG_CT_DELETE

	original  = 1  // CTA_TUPLE_ORIG
	reply     = 2  // CTA_TUPLE_REPLY
	filter    = 25 // CTA_FILTER
	addresses = 1  // CTA_TUPLE_IP
	protocol  = 2  // CTA_TUPLE_PROTO

	byFrom     = 1 << 0 // CTA_IP_SRC
	byTo       = 1 << 1 // CTA_IP_DST
	byProto    = 1 << 3 // CTA_PROTO_NUM
	byFromPort = 1 << 4 // CTA_PROTO_SRC_PORT
	byToPort   = 1 << 5 // CTA_PROTO_DST_PORT
)

// message asks for a deletion by a filter, with the fields by which it looks. It must
// never be one that means "all" to a kernel without filters.
func (f Flows) message() (netlink.Message, error) {
	to := uint32(byProto | byToPort)
	if !f.To.Addr().IsUnspecified() {
		to |= byTo
	}
	const by = byFrom | byProto | byFromPort
	if !f.To.Addr().Is4() || !f.By.Addr().Is4() {
		return netlink.Message{}, errors.ErrUnsupported
	}
	e := netlink.NewAttributeEncoder()
	tuple(e, original, f.Proto, f.To, to, false)
	tuple(e, reply, f.Proto, f.By, by, true)
	e.Nested(filter, func(e *netlink.AttributeEncoder) error {
		e.Uint32(1, to) // CTA_FILTER_ORIG_FLAGS
		e.Uint32(2, by) // CTA_FILTER_REPLY_FLAGS
		return nil
	})
	attributes, err := e.Encode()
	// struct nfgenmsg; only with version 1 the kernel looks at the family of a deletion.
	return netlink.Message{
		Header: netlink.Header{Type: deletion, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append([]byte{unix.AF_INET, 1, 0, 0}, attributes...),
	}, err
}

// tuple writes one side of one direction of a connection, as far as the filter has it.
func tuple(e *netlink.AttributeEncoder, which uint16, proto byte, at netip.AddrPort, by uint32, from bool) {
	address, port := uint16(2), uint16(3) // CTA_IP_V4_DST, CTA_PROTO_DST_PORT
	if from {
		address, port = 1, 2 // …_SRC
	}
	e.Nested(which, func(e *netlink.AttributeEncoder) error {
		if by&(byFrom|byTo) != 0 {
			e.Nested(addresses, func(e *netlink.AttributeEncoder) error {
				e.Bytes(address, at.Addr().AsSlice())
				return nil
			})
		}
		e.Nested(protocol, func(e *netlink.AttributeEncoder) error {
			e.Uint8(1, proto) // CTA_PROTO_NUM
			e.Bytes(port, []byte{byte(at.Port() >> 8), byte(at.Port())})
			return nil
		})
		return nil
	})
}
