package keeper

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// controlSize has room for what the kernel tells of a datagram of either family.
const controlSize = 64

// answerFrom reads to which of the host's addresses a datagram came (IP_PKTINFO in ip(7),
// IPV6_PKTINFO in ipv6(7)). source is the control message by which an answer comes from
// there: of several addresses the kernel would choose another, from which the client
// expects nothing. They are zero where the kernel tells nothing.
func answerFrom(control []byte) (asked netip.Addr, source []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return asked, nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			local := [4]byte(m.Data[4:8]) // ipi_spec_dst
			// By whichever link its route leads: the index is left out.
			return netip.AddrFrom4(local), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			from := unix.Inet6Pktinfo{Addr: [16]byte(m.Data)}
			if asked = netip.AddrFrom16(from.Addr); asked.IsLinkLocalUnicast() { // it is that link's alone
				from.Ifindex = binary.NativeEndian.Uint32(m.Data[16:])
			}
			return asked, unix.PktInfo6(&from)
		}
	}
	return asked, nil
}
