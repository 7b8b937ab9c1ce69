package nft

import (
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Expr is one match or action of a rule, as the kernel's expressions. Each leaves
// nothing behind in the registers that a later one would need.
type Expr []expr.Any

// Verdict says what becomes of a packet.
type Verdict = expr.Verdict

// The kernel's registers of 16 bytes, and those of 4 that follow in the first.
const (
	reg1   = unix.NFT_REG_1
	reg2   = unix.NFT_REG_2
	reg32  = unix.NFT_REG32_00
	ipv4   = unix.NFPROTO_IPV4
	ipv6   = unix.NFPROTO_IPV6
	source = 12 // offset in the IPv4 header
	dest   = 16 //
	src6   = 8  // offset in the IPv6 header
	dst6   = 24 //
)

// Accept, Drop and Return end a chain; Jump comes back, Goto does not.
func Accept() Expr           { return Expr{&Verdict{Kind: expr.VerdictAccept}} }
func Drop() Expr             { return Expr{&Verdict{Kind: expr.VerdictDrop}} }
func Return() Expr           { return Expr{&Verdict{Kind: expr.VerdictReturn}} }
func Jump(chain string) Expr { return Expr{JumpTo(chain)} }
func Goto(chain string) Expr { return Expr{&Verdict{Kind: expr.VerdictGoto, Chain: chain}} }

// JumpTo is the verdict of an element of a verdict map.
func JumpTo(chain string) *Verdict { return &Verdict{Kind: expr.VerdictJump, Chain: chain} }

// Masquerade gives the packet the address of the link that it leaves by.
func Masquerade() Expr { return Expr{&expr.Masq{}} }

// SNAT gives the packet a source address.
func SNAT(to netip.Addr) Expr {
	return Expr{&expr.Immediate{Register: reg1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: nfproto(to), RegAddrMin: reg1}}
}

// DNAT sends the packet to the address and port that the map has for the key; without
// one the next rule is looked at.
func DNAT(family Type, key Expr, mapped string) Expr {
	nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: ipv4, RegAddrMin: reg1, RegProtoMin: reg32 + 1}
	if family.Name == IPv6.Name {
		nat.Family, nat.RegProtoMin = ipv6, reg2
	}
	return join(key, Expr{&expr.Lookup{SourceRegister: reg1, DestRegister: reg1, IsDestRegSet: true, SetName: mapped}, nat})
}

// In matches a key that a set has.
func In(key Expr, set string) Expr {
	return join(key, Expr{&expr.Lookup{SourceRegister: reg1, SetName: set}})
}

// NotIn matches a key that a set does not have.
func NotIn(key Expr, set string) Expr {
	return join(key, Expr{&expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true}})
}

// VMap does what the verdict map says of a key.
func VMap(key Expr, set string) Expr {
	return join(key, Expr{&expr.Lookup{SourceRegister: reg1, DestRegister: 0, IsDestRegSet: true, SetName: set}})
}

// SetMark sets bits of the packet's mark, and leaves the others.
func SetMark(bits uint32) Expr {
	keep, set := binaryutil.NativeEndian.PutUint32(^bits), binaryutil.NativeEndian.PutUint32(bits)
	return Expr{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: keep, Xor: set},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true},
	}
}

// Marked matches packets that have bits of the mark set.
func Marked(bits uint32) Expr { return MarkIs(bits, bits) }

// MarkIs matches packets whose mark is value in the bits of mask.
func MarkIs(value, mask uint32) Expr {
	v, b := binaryutil.NativeEndian.PutUint32(value), binaryutil.NativeEndian.PutUint32(mask)
	return Expr{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: b, Xor: make([]byte, 4)},
		equal(v),
	}
}

// Keys: what In, DNAT and VMap look up.

// InLink and OutLink are the names of the links a packet comes and leaves by.
func InLink() Expr  { return Expr{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}} }
func OutLink() Expr { return Expr{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}} }

// InGroup and OutGroup match packets that come or leave by a link of a group.
func InGroup(group uint32) Expr  { return inGroup(expr.MetaKeyIIFGROUP, group) }
func OutGroup(group uint32) Expr { return inGroup(expr.MetaKeyOIFGROUP, group) }

func inGroup(key expr.MetaKey, group uint32) Expr {
	return Expr{&expr.Meta{Key: key, Register: reg1}, equal(binaryutil.NativeEndian.PutUint32(group))}
}

// Published is the key protocol . destination port, for packets of a family.
func Published(family Type) Expr { return join(Family(family), portKey(0)) }

// PublishedAt is the key destination address . protocol . destination port.
func PublishedAt(family Type) Expr {
	address, n := payload(family, true, 0)
	return join(Family(family), address, portKey(n))
}

// Linked is the key source address . destination address . protocol . destination port.
func Linked(family Type) Expr {
	from, n := payload(family, false, 0)
	to, m := payload(family, true, n)
	return join(Family(family), from, to, portKey(m))
}

// Source is the source address, for packets of a family.
func Source(family Type) Expr {
	address, _ := payload(family, false, 0)
	return join(Family(family), address)
}

// SourceLinkAddress is the source of the frame, for packets that come by Ethernet.
func SourceLinkAddress() Expr {
	const offset, size = 6, 6
	return Expr{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: reg1}, equal(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_ETHER)),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseLLHeader, Offset: offset, Len: size},
	}
}

// AnyPublished is the key protocol . destination port of whatever family.
func AnyPublished() Expr { return portKey(0) }

func portKey(at uint32) Expr {
	return Expr{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(at)},
		&expr.Payload{DestRegister: register(at + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// payload loads an address to the n-th register of 4 bytes, and says which is next.
func payload(family Type, destination bool, n uint32) (Expr, uint32) {
	offset, size := uint32(source), uint32(4)
	switch {
	case family.Name == IPv6.Name && destination:
		offset, size = dst6, 16
	case family.Name == IPv6.Name:
		offset, size = src6, 16
	case destination:
		offset = dest
	}
	return Expr{&expr.Payload{DestRegister: register(n), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}}, n + size/4
}

// register gives the n-th register of 4 bytes the name that nft(8) gives it: the
// first of each 16 bytes goes by that of the whole.
func register(n uint32) uint32 {
	if n%4 == 0 {
		return reg1 + n/4
	}
	return reg32 + n
}

// Matches.

// SourceOf is the key source address . destination port.
func SourceOf(family Type) Expr {
	address, n := payload(family, false, 0)
	return join(Family(family), address, Expr{&expr.Payload{DestRegister: register(n), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}})
}

// Often matches what comes more often than perMinute times a minute with the same key,
// beyond burst at once. set is one that Counts.
func Often(key Expr, set string, perMinute uint64, burst uint32) Expr {
	const update = 1 // NFT_DYNSET_OP_UPDATE
	return join(key, Expr{&expr.Dynset{SrcRegKey: reg1, SetName: set, Operation: update, Exprs: []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: perMinute, Unit: expr.LimitTimeMinute, Burst: burst, Over: true},
	}}})
}

// Family matches IPv4 or IPv6 packets.
func Family(family Type) Expr {
	f := byte(ipv4)
	if family.Name == IPv6.Name {
		f = ipv6
	}
	return Expr{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1}, equal([]byte{f})}
}

// InLinkIs, OutLinkIs and OutLinkIsNot match the name of a link.
func InLinkIs(name string) Expr     { return append(InLink(), equal(IfNameKey(name))) }
func OutLinkIs(name string) Expr    { return append(OutLink(), equal(IfNameKey(name))) }
func OutLinkIsNot(name string) Expr { return append(OutLink(), unequal(IfNameKey(name))) }

// IfNameKey is a link's name as a field.
func IfNameKey(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// ProtoIs matches the transport protocol, by its number.
func ProtoIs(number byte) Expr {
	return Expr{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, equal([]byte{number})}
}

// From and To match addresses of a prefix, of its family.
func From(p netip.Prefix) Expr { return within(p, false) }
func To(p netip.Prefix) Expr   { return within(p, true) }

func within(p netip.Prefix, destination bool) Expr {
	family := IPv4
	if p.Addr().Is6() {
		family = IPv6
	}
	address, _ := payload(family, destination, 0)
	e := join(Family(family), address)
	if size := p.Addr().BitLen(); p.Bits() < size {
		mask := make([]byte, size/8)
		for i := range p.Bits() {
			mask[i/8] |= 1 << (7 - i%8)
		}
		e = append(e, &expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: uint32(size / 8), Mask: mask, Xor: make([]byte, size/8)})
	}
	return append(e, equal(p.Masked().Addr().AsSlice()))
}

// Established matches packets of connections that were let through before.
func Established() Expr {
	return ctBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// Diverted matches packets whose destination a DNAT has changed.
func Diverted() Expr {
	const dstNAT = 1 << 5 // IPS_DST_NAT, linux/netfilter/nf_conntrack_common.h
	return ctBits(expr.CtKeySTATUS, dstNAT)
}

func ctBits(key expr.CtKey, bits uint32) Expr {
	return Expr{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		unequal(make([]byte, 4)),
	}
}

// NotToHost matches packets to addresses that are not the host's own.
func NotToHost() Expr {
	return Expr{&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true},
		unequal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))}
}

func equal(b []byte) expr.Any   { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: b} }
func unequal(b []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: b} }

func nfproto(a netip.Addr) uint32 {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func join(parts ...Expr) Expr {
	var all Expr
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// Not inverts the last comparison of a match.
func Not(e Expr) Expr {
	inverted := append(Expr{}, e...)
	last := *inverted[len(inverted)-1].(*expr.Cmp)
	last.Op = expr.CmpOpNeq
	inverted[len(inverted)-1] = &last
	return inverted
}

// InLinkLike matches a link's name, or with a final * the begin of one.
func InLinkLike(pattern string) Expr {
	if begin, ok := strings.CutSuffix(pattern, "*"); ok {
		return append(InLink(), equal([]byte(begin)))
	}
	return InLinkIs(pattern)
}

// SourcePorts and DestinationPorts match a range of ports.
func SourcePorts(first, last uint16) Expr      { return ports(0, first, last) }
func DestinationPorts(first, last uint16) Expr { return ports(2, first, last) }

func ports(offset uint32, first, last uint16) Expr {
	e := Expr{&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}}
	if first == last {
		return append(e, equal(Port(first)))
	}
	return append(e, &expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: Port(first), ToData: Port(last)})
}

// NeighbourDiscovery are the messages without which no IPv6 neighbour is reached:
// solicitation and advertisement (RFC 4861).
var NeighbourDiscovery = [2]byte{135, 136}

// ICMPv6Is matches a type of ICMPv6 message.
func ICMPv6Is(kind byte) Expr {
	return join(ProtoIs(unix.IPPROTO_ICMPV6), Expr{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, equal([]byte{kind})})
}
