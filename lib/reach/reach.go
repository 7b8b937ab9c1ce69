// Package reach is what the engine says of published ports: who can reach them, and why.
package reach

import "net/netip"

// Port is a published port of a container. Of its answers the first that is about a peer
// counts for it.
type Port struct {
	Proto     string
	Host      netip.AddrPort // 0.0.0.0 and [::] are every address of the host
	Container netip.AddrPort
	Answers   []Answer
	// Notes say what of the host's firewall the answers leave out.
	Notes []string `json:",omitempty"`
}

// Answer says of some peers whether they reach it.
type Answer struct {
	Who   string
	Reach bool
	Why   string
}
