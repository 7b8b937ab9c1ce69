// Package network connects containers: it keeps network namespaces ready, gives
// addresses, and holds the bridge and its firewall rules.
package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"hoy/lib/atomicfile"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/netlink"
	"hoy/linux/nft"
)

// Options configure Open.
type Options struct {
	Root    string       // directory for networks.json
	Bridge  string       // link name of the default network, "none": no default network
	BIP     netip.Prefix // address of the bridge with the subnet's length; zero: from Pools
	Pools   []Pool       // empty: DefaultPools
	MTU     int          // 0: the kernel's
	NoMasq  bool         // leave the source address of what leaves the bridge alone
	UserMap *idmap.Map   // user namespace of every container; nil: the host's
	Ready   int          // prepared namespaces to keep; 0: a default
	Log     *slog.Logger
}

// Networks is the set of networks of one engine. There are three: "bridge" (a Linux
// bridge with addresses from a pool), "host" and "none".
//
// A container is attached at every start and detached at every exit:
//
//	ep, err := n.Attach(ctx, network.AttachRequest{ContainerID: id, Network: "bridge"})
//	... the container's first process joins ep.NetNS (and ep.UserNS) ...
//	ep.Close()            // the namespaces now live by the processes in them
//	...
//	n.Detach(id)          // after the exit: the address may be given again
//
// Making a namespace with a link takes about two milliseconds, removing it thirty.
// So a few are kept ready (see pool), and nobody waits for the removal: the kernel
// does it when the last process and descriptor are gone.
//
// networks.json, in the root:
//
//	{"version": 1, "address": "172.17.0.1/16", "made": "hoy0", "ids": {"bridge": "…", "host": "…", "none": "…"}}
//
// where made is the bridge that an engine of this root has made, so that the last
// one removes it even if the first was killed.
type Networks struct {
	opts   Options
	bridge *bridge // nil without default network
	none   *pool
	ids    map[string]string // network name to id

	mu       sync.Mutex
	attached map[string]Endpoint // by container id
}

// bridge is the default network.
type bridge struct {
	name    string
	index   int
	address netip.Prefix // of the bridge: gateway and subnet
	addrs   *addresses
	ready   *pool
	made    bool // by an engine of this root: removed by Close when nobody uses it
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network    string           `json:"network"` // bridge, host or none
	NetworkID  string           `json:"networkId"`
	EndpointID string           `json:"endpointId"`
	Address    netip.Prefix     `json:"address"`
	Gateway    netip.Addr       `json:"gateway"`
	MAC        net.HardwareAddr `json:"mac,omitempty"`

	// UserNS and NetNS are the namespaces to join, nil: the host's.
	UserNS, NetNS *os.File `json:"-"`
}

// Close closes the descriptors of the namespaces.
func (e *Endpoint) Close() {
	e.UserNS.Close() // on nil it only returns an error
	e.NetNS.Close()
	e.UserNS, e.NetNS = nil, nil
}

// AttachRequest says what Attach shall do.
type AttachRequest struct {
	ContainerID string
	Network     string     // bridge, default, host or none; "" is default
	Address     netip.Addr // invalid: any
	MAC         net.HardwareAddr
	HostUser    bool // stay in the host's user namespace
}

// Open brings the bridge and its rules up, as they were if this root had one.
func Open(ctx context.Context, o Options) (*Networks, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if len(o.Pools) == 0 {
		o.Pools = DefaultPools()
	}
	if o.Ready == 0 {
		o.Ready = 8
	}
	n := &Networks{opts: o, attached: map[string]Endpoint{}, ids: map[string]string{}}
	n.none = newPool(4, o.Log, n.makeNone)
	saved, err := n.load()
	if err != nil {
		return nil, err
	}
	if o.Bridge != "none" {
		if err := n.openBridge(saved); err != nil {
			return nil, err
		}
	}
	if err := n.save(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

type record struct {
	Version int               `json:"version"`
	Address netip.Prefix      `json:"address"`
	Made    string            `json:"made,omitempty"`
	IDs     map[string]string `json:"ids"`
}

func (n *Networks) path() string { return filepath.Join(n.opts.Root, "networks.json") }

func (n *Networks) load() (record, error) {
	var r record
	b, err := os.ReadFile(n.path())
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return r, fmt.Errorf("cannot read the networks: %w", err)
	}
	for _, name := range []string{"bridge", "host", "none"} {
		if n.ids[name] = r.IDs[name]; n.ids[name] == "" {
			n.ids[name] = newID()
		}
	}
	return r, nil
}

func (n *Networks) save() error {
	r := record{Version: 1, IDs: n.ids}
	if n.bridge != nil {
		r.Address = n.bridge.address
		if n.bridge.made {
			r.Made = n.bridge.name
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(n.opts.Root, 0o700); err != nil {
		return fmt.Errorf("cannot make the networks' directory: %w", err)
	}
	return atomicfile.WriteSync(n.path(), b, 0o600)
}

func (n *Networks) openBridge(saved record) error {
	name := n.opts.Bridge
	address, err := n.bridgeAddress(saved)
	if err != nil {
		return err
	}
	index, made, err := netlink.Bridge(name, address, macOf(address.Addr()), n.opts.MTU)
	if err != nil {
		return err
	}
	b := &bridge{name: name, index: index, address: address, made: made || saved.Made == name, addrs: newAddresses(address)}
	if err := b.addrs.claim(address.Addr()); err != nil {
		return fault.New(fault.Invalid, "cannot use %s for bridge %s: %w", address, name, err)
	}
	if err := forwardPackets(); err != nil {
		return err
	}
	if err := nft.Apply(nft.Network{Bridge: name, Subnet: address.Masked(), Masquerade: !n.opts.NoMasq}); err != nil {
		return err
	}
	n.bridge = b
	b.ready = newPool(n.opts.Ready, n.opts.Log, n.makeBridged)
	return nil
}

// bridgeAddress decides on the bridge's address: what the user says, what the link
// has already, what it was before, or the first subnet of the pools that is free.
func (n *Networks) bridgeAddress(saved record) (netip.Prefix, error) {
	p := n.opts.BIP
	if !p.IsValid() {
		if p, _ = netlink.BridgeAddress(n.opts.Bridge); !p.IsValid() {
			p = saved.Address
		}
	}
	if p.IsValid() {
		if !p.Addr().Is4() || p.Bits() > 30 {
			return p, fault.New(fault.Invalid, "cannot use %s as the bridge's address: give an IPv4 address with a prefix length of 30 or less", p)
		}
		return p, nil
	}
	taken, err := netlink.Routes()
	if err != nil {
		return p, err
	}
	subnet, err := choose(n.opts.Pools, taken)
	if err != nil {
		return p, err
	}
	return netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()), nil
}

// forwardPackets lets the kernel route between links, as every bridge network needs.
func forwardPackets() error {
	const path = "/proc/sys/net/ipv4/ip_forward"
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 && b[0] == '1' {
		return nil
	}
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		return fmt.Errorf("cannot let the kernel forward packets: %w", err)
	}
	return nil
}

// Start begins to keep namespaces ready. It is called once, after every Adopt.
func (n *Networks) Start() {
	n.none.start()
	if n.bridge != nil {
		n.bridge.ready.start()
	}
}

// Close gives up what is kept ready. Containers stay connected; the bridge and its
// rules go only when no container is attached.
func (n *Networks) Close() error {
	n.none.close()
	if n.bridge == nil {
		return nil
	}
	n.bridge.ready.close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.attached {
		if e.Network == "bridge" {
			return nil
		}
	}
	if !n.bridge.made {
		return nil
	}
	return errors.Join(nft.Remove(n.bridge.name), netlink.DelLink(n.bridge.name))
}

// Attach gives the container its namespaces, with link and address where the
// network has those.
func (n *Networks) Attach(ctx context.Context, r AttachRequest) (*Endpoint, error) {
	e, err := n.endpoint(r)
	if err != nil {
		return nil, err
	}
	e.EndpointID = newID()
	e.NetworkID = n.ids[e.Network]
	n.mu.Lock()
	_, twice := n.attached[r.ContainerID]
	if !twice {
		n.attached[r.ContainerID] = *e
	}
	n.mu.Unlock()
	if twice {
		n.discard(e)
		return nil, fault.New(fault.Conflict, "container %s is already attached to a network", r.ContainerID)
	}
	return e, nil
}

func (n *Networks) endpoint(r AttachRequest) (*Endpoint, error) {
	special := r.Address.IsValid() || r.MAC != nil || r.HostUser && n.opts.UserMap != nil
	switch r.Network {
	case "host":
		if n.opts.UserMap == nil || r.HostUser {
			return &Endpoint{Network: "host"}, nil
		}
		user, err := idmap.New(n.opts.UserMap)
		return &Endpoint{Network: "host", UserNS: user}, err
	case "none":
		if special {
			return n.isolated(r.HostUser)
		}
		return n.none.take()
	case "", "default", "bridge":
		if n.bridge == nil {
			return nil, fault.New(fault.Invalid, "there is no default network (--bridge none): use --network none or host")
		}
		if special {
			return n.bridged(r)
		}
		return n.bridge.ready.take()
	}
	return nil, fault.New(fault.NotFound, "network %s not found", r.Network)
}

func (n *Networks) makeNone() (*Endpoint, error)    { return n.isolated(false) }
func (n *Networks) makeBridged() (*Endpoint, error) { return n.bridged(AttachRequest{}) }

// namespaces makes the namespaces of a container.
func (n *Networks) namespaces(hostUser bool) (*Endpoint, error) {
	var e Endpoint
	var err error
	if n.opts.UserMap != nil && !hostUser {
		e.UserNS, e.NetNS, err = idmap.NewPair(n.opts.UserMap)
	} else {
		e.NetNS, err = netlink.NewNamespace()
	}
	return &e, err
}

func (n *Networks) isolated(hostUser bool) (*Endpoint, error) {
	e, err := n.namespaces(hostUser)
	if err != nil {
		return nil, err
	}
	e.Network = "none"
	if err := netlink.LoopbackUp(e.NetNS); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (n *Networks) bridged(r AttachRequest) (_ *Endpoint, err error) {
	b := n.bridge
	addr := r.Address
	if addr.IsValid() {
		err = b.addrs.claim(addr)
	} else {
		addr, err = b.addrs.take()
	}
	if err != nil {
		return nil, err
	}
	e, err := n.namespaces(r.HostUser)
	if err != nil {
		b.addrs.release(addr)
		return nil, err
	}
	e.Network, e.Address, e.Gateway, e.MAC = "bridge", netip.PrefixFrom(addr, b.address.Bits()), b.address.Addr(), r.MAC
	if e.MAC == nil {
		e.MAC = macOf(addr)
	}
	v := netlink.Veth{Host: "veth" + newID()[:7], Peer: "eth0", Bridge: b.index, Namespace: e.NetNS, Address: e.Address, Gateway: e.Gateway, MAC: e.MAC, MTU: n.opts.MTU}
	if err := v.Add(); err != nil {
		n.discard(e)
		return nil, err
	}
	return e, nil
}

// macOf derives the link address from the network address: whoever gets an address
// again later is found by the entries that neighbours still have.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

// discard gives back what an endpoint holds.
func (n *Networks) discard(e *Endpoint) {
	e.Close()
	if e.Network == "bridge" && n.bridge != nil {
		n.bridge.addrs.release(e.Address.Addr())
	}
}

// Detach gives the container's address back. A container that is not attached is
// no error.
func (n *Networks) Detach(containerID string) {
	n.mu.Lock()
	e, ok := n.attached[containerID]
	delete(n.attached, containerID)
	n.mu.Unlock()
	if ok && e.Network == "bridge" && n.bridge != nil {
		n.bridge.addrs.release(e.Address.Addr())
	}
}

// Adopt takes back what a running container of an earlier engine was given. It must
// be called before Start and the first Attach: they give away what is not adopted.
func (n *Networks) Adopt(containerID string, e Endpoint) error {
	e.UserNS, e.NetNS = nil, nil
	if e.Network == "bridge" && n.bridge != nil {
		if err := n.bridge.addrs.claim(e.Address.Addr()); err != nil {
			return fmt.Errorf("cannot keep address %s of container %s: %w", e.Address, containerID, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.attached[containerID] = e
	return nil
}

// Summary describes a network for list and inspect.
type Summary struct {
	Name, ID, Driver, Bridge string
	Subnet                   netip.Prefix
	Gateway                  netip.Addr
	Containers               map[string]Endpoint // by container id
}

// List returns every network, "bridge" first.
func (n *Networks) List() []Summary {
	var l []Summary
	if b := n.bridge; b != nil {
		l = append(l, Summary{Name: "bridge", Driver: "bridge", Bridge: b.name, Subnet: b.address.Masked(), Gateway: b.address.Addr()})
	}
	l = append(l, Summary{Name: "host", Driver: "host"}, Summary{Name: "none", Driver: "null"})
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range l {
		l[i].ID = n.ids[l[i].Name]
		l[i].Containers = map[string]Endpoint{}
		for id, e := range n.attached {
			if e.Network == l[i].Name {
				l[i].Containers[id] = e
			}
		}
	}
	return l
}

// ResolvConf returns the content of a container's /etc/resolv.conf.
func (n *Networks) ResolvConf(r ResolvConf, hostNetwork bool) []byte {
	host := hostResolv(func(p string) []byte { b, _ := os.ReadFile(p); return b })
	if hostNetwork {
		host, _ = os.ReadFile(hostResolvConf[0])
	}
	return r.Build(host, hostNetwork)
}

// Gateway returns the address by which containers of the default network reach the
// host; invalid without default network.
func (n *Networks) Gateway() netip.Addr {
	if n.bridge == nil {
		return netip.Addr{}
	}
	return n.bridge.address.Addr()
}

// newID returns 64 random hexadecimal digits.
func newID() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
