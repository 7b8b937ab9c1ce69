package keeper

import (
	"net/netip"
	"os"

	"hoy/keeper/names"
)

// NetworkHold is what the keeper holds for a container beside its process, so that it
// works while no engine runs: the sockets that answer at 127.0.0.11, and those that
// keep the host's ports of published ones.
//
// A hold takes the place of the one before it. Files that are nil in it are those that
// are held already: the engine keeps no duplicates.
type NetworkHold struct {
	ID         string // of the container
	Generation uint64 // of its start: the hold ends with that process

	Resolver *Resolver // nil: none
	Ports    []HeldPort
}

// Resolver is a container's name server at 127.0.0.11. Names that are not of Networks,
// Links or Hosts are asked of others.
type Resolver struct {
	UDP, TCP *os.File // bound in the container's network namespace, TCP listens; borrowed
	NetNS    *os.File // the container's network namespace, for Servers; borrowed

	Networks []string                // ids of the networks whose names it answers, first the one asked first
	Zones    map[string]string       // id of a network to its name: NAME.ZONE is answered too, and by reverse look-ups
	Links    map[string]string       // alias to the name, of one of Networks, that it stands for
	Hosts    map[string][]netip.Addr // names of its own, such as host.docker.internal
	Servers  []netip.AddrPort        // whom to ask for other names, from the container's namespace; none: the host's servers, followed as they change
	Isolated bool                    // other names are not looked up, unless there are Servers: only internal networks
}

// HeldPort is a port of the host that nobody else shall take while it is published. What
// nftables does not divert to the container arrives at the socket; of that the keeper
// forwards connections and datagrams of the machine itself to Target, everybody's if Host
// and Target are of different families or if that is asked for, and refuses others.
type HeldPort struct {
	Socket *os.File // bound; a stream socket listens; borrowed
	Proto  string   // tcp, udp or sctp
	Host   netip.AddrPort
	Target netip.AddrPort // of the container

	Everybody bool // no rule diverts what others send
}

// HeldNetwork tells what is held.
type HeldNetwork struct {
	ID         string     `json:"id"`
	Generation uint64     `json:"generation"`
	Ports      []HostPort `json:"ports"` // nil: the keeper is of a build that does not tell
}

// HostPort is a port of the host.
type HostPort struct {
	Proto string         `json:"proto"`
	Host  netip.AddrPort `json:"host"`
}

// NameEntry is a container's place among the names of a network.
type NameEntry = names.Entry
