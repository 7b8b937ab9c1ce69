// Package network connects containers: it plans addresses, keeps network namespaces
// ready, and holds bridges, links, names and published ports.
package network

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"hoy/linux/idmap"
	"hoy/network/firewall"
	"hoy/network/hostports"
	"hoy/network/ipam"
)

// Options configure Open.
type Options struct {
	Root     string   // directory for networks.json
	EngineID string   // IPv6 subnets are derived from it
	Firewall Firewall // nil: no rules
	Keeper   Keeper   // nil: no names, and published ports are not held

	// The default network, "bridge".
	Bridge                string       // link name; "none": no default network
	Foreign               bool         // the link is somebody else's: it is not made
	BIP, BIP6             netip.Prefix // address of the bridge with the subnet's length; invalid: from Pools
	FixedCIDR, FixedCIDR6 netip.Prefix // what of the subnet is given to containers; invalid: all
	Gateway, Gateway6     netip.Addr   // of containers; invalid: the bridge
	IPv6                  bool
	NoICC                 bool       // its containers reach each other only by published ports and links
	NoMasq                bool       // leave the source address of what leaves the bridge alone
	MTU                   int        // 0: the kernel's
	Bind                  netip.Addr // where ports are published by default; invalid: everywhere

	Admit     firewall.AdmitMark // packets that reach every port of containers (--bridge-accept-fwmark)
	Unguarded bool               // published ports do not ask the host's firewall (docker's behaviour)

	Direct bool // published ports are reached at the containers' own addresses, too (--allow-direct-routing)

	// Families for which Firewall makes no rules (dockerd's --iptables=false and
	// --ip6tables=false): the keeper forwards published ports for everybody.
	Bare4, Bare6 bool

	Pools   []ipam.Pool // empty: ipam.DefaultPools and ipam.Reserve; ipam.UniqueLocal where none is IPv6
	UserMap *idmap.Map  // user namespace of every container; nil: the host's
	Ready   int         // prepared namespaces to keep; 0: a default; negative: none
	Log     *slog.Logger
}

// Networks is the set of networks of one engine: "bridge", "host" and "none", which there
// always are, and those that Create makes.
//
// A container is attached at every start and detached at every exit. In between it may be
// connected to other networks, disconnected from some, and have ports published:
//
//	s, err := n.Attach(ctx, network.AttachRequest{ContainerID: id, Endpoints: []network.EndpointRequest{{Network: "bridge"}}})
//	... the container's first process joins s.NetNS (and s.UserNS) ...
//	s.Close()             // the namespaces now live by the processes in them
//	s, err = n.Connect(ctx, id, netns, network.EndpointRequest{Network: "back"})
//	...
//	n.Detach(id)          // after the exit: addresses and ports may be given again
//
// Making a namespace with a link takes about two milliseconds, removing it thirty.
// So a few are kept ready (see pool), and nobody waits for the removal: the kernel
// does it when the last process and descriptor are gone, or we do a second later (lingering).
//
// What there is of a network in the kernel, its bridge or its VLAN link and its rules, is
// made after its record is saved and removed before that goes, so that Open finds a
// record for all that an engine that was killed has left.
type Networks struct {
	opts     Options
	firewall Firewall
	keeper   Keeper
	none     *pool
	ports    hostports.Ports
	anywhere []netip.Addr // where a port is published that names no address

	lingering lingering

	// changing is held while networks are made and removed, with their bridges and records.
	changing sync.Mutex

	mu       sync.Mutex
	started  bool                // endpoints are kept ready
	left     sync.Cond           // a container is not attached any more
	reheld   chan struct{}       // closed when Rehold is through, for another one
	loose    map[hostPort]bool   // published ports that no socket holds
	segments map[string]*segment // by network id
	attached map[string]*member  // by container id
}

// member is a container that is attached.
type member struct {
	op      sync.Mutex           // one change at a time
	silence []context.CancelFunc // ends announcements; guarded by op

	leaving bool // guarded by Networks.mu

	now *Sandbox // guarded by Networks.mu; what it points to is never written to
}

// Start begins to keep namespaces ready, after every Adopt; firewall and keeper
// then know exactly what is attached.
func (n *Networks) Start() error {
	n.mu.Lock()
	var nets []firewall.Network
	var ports []firewall.Port
	for _, s := range n.segments {
		if s.Driver == "bridge" && s.index != 0 {
			rules := s.rules()
			rules.Allowed = n.allowed(s.ID)
			nets = append(nets, rules)
		}
	}
	for _, m := range n.attached {
		ports = append(ports, forwarded(m.now.Ports)...)
	}
	bridge := n.named("bridge")
	n.started = true
	n.mu.Unlock()
	slices.SortFunc(nets, func(a, b firewall.Network) int { return cmp.Compare(a.Name, b.Name) })
	if err := n.firewall.Sync(nets, ports); err != nil {
		return err
	}
	if err := n.nameAll(context.Background()); err != nil {
		n.opts.Log.Warn("the names of networks are not answered", "error", err)
	}
	n.none.start()
	if bridge != nil {
		n.keepReady(bridge, n.opts.Ready)
	}
	return nil
}

// Close gives up what is kept ready. Containers stay connected; the bridges and rules
// go of the networks that no container is on.
func (n *Networks) Close() error {
	n.none.close()
	n.endLingering()
	n.mu.Lock()
	n.started = false
	ready := n.all()
	n.mu.Unlock()
	for _, s := range ready {
		n.stopReady(s) // before: what makes more may wait for who is changing networks
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	n.mu.Lock()
	segments := n.all()
	connected := false
	for _, m := range n.attached {
		connected = connected || len(m.now.Endpoints) > 0 && m.now.Mode == ""
	}
	n.mu.Unlock()
	var errs []error
	for _, s := range segments {
		n.mu.Lock()
		used := s.uses > 0
		n.mu.Unlock()
		if !used {
			errs = append(errs, n.down(s))
		}
	}
	if !connected {
		errs = append(errs, n.firewall.Remove())
	}
	return errors.Join(errs...)
}

// newID returns 64 random hexadecimal digits.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// warn logs what went wrong where nobody waits for an answer.
func (n *Networks) warn(what string, err error) {
	if err != nil {
		n.opts.Log.Warn(fmt.Sprintf("cannot %s", what), "error", err)
	}
}
