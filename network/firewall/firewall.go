// Package firewall is what the kernel's packet filter knows of an engine: one nftables
// table that masquerades what leaves its networks, forwards published ports to their
// containers, and lets nobody else in.
package firewall

import "net/netip"

// Network is what the rules need to know of a bridge network.
type Network struct {
	Name    string       // for comments in the rules
	Link    string       // name of the bridge
	Subnet  netip.Prefix // IPv4; invalid: none
	Subnet6 netip.Prefix // IPv6; invalid: none

	Internal  bool // nothing passes between it and other links
	NoICC     bool // its containers do not reach each other, but by published ports and links
	Mode      Mode // of IPv4
	Mode6     Mode
	NoMasq    bool       // what leaves keeps its source address
	NoMasq6   bool       //
	Source    netip.Addr // what leaves gets this source address; invalid: that of the link it leaves by
	Source6   netip.Addr //
	Trusted   []string   // links from which containers are reached directly, at published ports
	Direct    bool       // published ports are reached at the containers' own addresses, too
	Allowed   []Allow    // exceptions from NoICC
	Admit     AdmitMark  // whose packets reach every port
	Unguarded bool       // published ports of the host's firewall do not ask (docker's behaviour)
}

// Mode says how a network's containers are reached from outside
// (com.docker.network.bridge.gateway_mode_ipv4).
type Mode string

const (
	NAT            Mode = "nat"             // by published ports of the host; also the zero value's meaning
	NATUnprotected Mode = "nat-unprotected" // by those, and directly at every port
	Routed         Mode = "routed"          // directly, at published ports
	Isolated       Mode = "isolated"        // not at all: the bridge has no address
)

// AdmitMark tells packets that somebody else has let in by their mark: it is Value in the
// bits of Mask. The zero value: there are none.
type AdmitMark struct{ Value, Mask uint32 }

// Allow lets From reach To at a port although their network has NoICC (a link).
type Allow struct {
	From, To netip.Addr
	Proto    string // tcp, udp or sctp
	Port     uint16 // of To
}

// Port is a published port.
type Port struct {
	Proto     string         // tcp, udp or sctp
	Host      netip.AddrPort // 0.0.0.0 and [::] are every address of the host; port 0: none, the network is routed
	Link      string         // name of the bridge that the container is on
	Container netip.AddrPort
}
