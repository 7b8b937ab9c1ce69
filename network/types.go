package network

import (
	"net"
	"net/netip"
	"os"
	"time"

	"hoy/network/firewall"
)

// Network is one network, as it was when asked for. Nobody writes to it.
type Network struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"` // 64 hexadecimal digits
	Created time.Time `json:"created"`
	Driver  string    `json:"driver"` // bridge, macvlan, ipvlan, host or null

	IPv4       bool   `json:"ipv4,omitempty"`
	IPv6       bool   `json:"ipv6,omitempty"`
	Internal   bool   `json:"internal,omitempty"`
	Attachable bool   `json:"attachable,omitempty"`
	ConfigOnly bool   `json:"configOnly,omitempty"`
	ConfigFrom string `json:"configFrom,omitempty"`

	IPAMDriver  string            `json:"ipamDriver,omitempty"`
	IPAMOptions map[string]string `json:"ipamOptions,omitempty"`
	Subnets     []Subnet          `json:"subnets,omitempty"`
	Options     map[string]string `json:"options,omitempty"` // of the driver
	Labels      map[string]string `json:"labels,omitempty"`

	Link string `json:"link,omitempty"` // the bridge
	Made bool   `json:"made,omitempty"` // the bridge was made by an engine of this root
}

// Subnet is a range of addresses of a network.
type Subnet struct {
	Prefix   netip.Prefix          `json:"prefix"`
	Range    netip.Prefix          `json:"range,omitzero"`   // what addresses are given from; invalid: all of it
	Gateway  netip.Addr            `json:"gateway,omitzero"` // invalid: none
	Reserved map[string]netip.Addr `json:"reserved,omitempty"`
	Chosen   bool                  `json:"chosen,omitempty"` // from the pools
}

// CreateRequest asks for a network. What is empty is decided by the engine.
type CreateRequest struct {
	Name, Driver         string
	IPv4, IPv6           *bool // nil: the driver's and the engine's default
	Internal, Attachable bool
	ConfigOnly           bool
	ConfigFrom           string
	IPAMDriver           string
	IPAMOptions          map[string]string
	Subnets              []Subnet // one without Prefix: from the pools
	Options, Labels      map[string]string
}

// EndpointRequest is what a container asks of one network.
type EndpointRequest struct {
	Network    string     // name or id
	IPv4, IPv6 netip.Addr // invalid: any
	NoIPv6     bool       // the container has IPv6 switched off
	LinkLocal  []netip.Addr
	MAC        net.HardwareAddr
	Names      []string          // by which the others of the network find it, first its own
	Links      map[string]string // alias to the name of another container
	Priority   int               // that of the highest is the default route's network
	Options    map[string]string // of the driver, com.docker.network.endpoint.…
	Reach      []Reach
}

// Reach lets a container reach a port of another one, which is attached, although their
// network keeps its containers apart (docker's links of the default network).
type Reach struct {
	Container string // id
	Proto     string // tcp, udp or sctp
	Port      uint16
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network    string           `json:"network"` // name
	NetworkID  string           `json:"networkId"`
	EndpointID string           `json:"endpointId"`
	Driver     string           `json:"driver"`
	Interface  string           `json:"interface,omitempty"` // in the container: eth0
	Link       string           `json:"link,omitempty"`      // on the host: the port of the bridge
	Address    netip.Prefix     `json:"address,omitzero"`    // IPv4, with the subnet's length; invalid: none
	Gateway    netip.Addr       `json:"gateway,omitzero"`
	Address6   netip.Prefix     `json:"address6,omitzero"`
	Gateway6   netip.Addr       `json:"gateway6,omitzero"`
	LinkLocal  []netip.Addr     `json:"linkLocal,omitempty"`
	MAC        net.HardwareAddr `json:"mac,omitempty"`
	Names      []string         `json:"names,omitempty"`
	Priority   int              `json:"priority,omitempty"`
	Allowed    []firewall.Allow `json:"allowed,omitempty"` // for Reach
}

// PortRequest asks to publish ports of a container.
type PortRequest struct {
	Proto       string     `json:"proto"`           // tcp, udp or sctp
	Container   uint16     `json:"container"`       // the container's port
	HostIP      netip.Addr `json:"hostIP,omitzero"` // invalid: every address, IPv4 and IPv6
	First, Last uint16     // of the host's ports, one of which is taken; 0: any free one
}

// Sandbox is a container's connection to the world while it runs.
type Sandbox struct {
	ContainerID string          `json:"containerId"`
	Name        string          `json:"name,omitempty"` // for errors
	Generation  uint64          `json:"generation"`
	Mode        string          `json:"mode,omitempty"` // host or none; "": by endpoints
	Endpoints   []Endpoint      `json:"endpoints,omitempty"`
	Ports       []firewall.Port `json:"ports,omitempty"`

	// What connecting it again needs, after a crash of the keeper.
	Publish  []PortRequest     `json:"publish,omitempty"`
	Resolver ResolverRequest   `json:"resolver,omitzero"`
	Links    map[string]string `json:"links,omitempty"`

	// UserNS and NetNS are the namespaces to join, nil: the host's.
	UserNS, NetNS *os.File `json:"-"`
}

// Close closes the descriptors of the namespaces.
func (s *Sandbox) Close() {
	s.UserNS.Close() // on nil it only returns an error
	s.NetNS.Close()
	s.UserNS, s.NetNS = nil, nil
}

// ResolverRequest says how a container resolves names that no network of its has.
type ResolverRequest struct {
	Servers []netip.Addr          `json:"servers,omitempty"` // none: the host's
	Hosts   map[string]netip.Addr `json:"hosts,omitempty"`   // names of its own
}

// AttachRequest says what Attach shall do.
type AttachRequest struct {
	ContainerID string
	Name        string // the container's, for errors
	Generation  uint64
	Mode        string            // host or none; "": Endpoints
	Endpoints   []EndpointRequest // the first is the network mode's
	Publish     []PortRequest
	Resolver    ResolverRequest
	HostUser    bool // stay in the host's user namespace
}
