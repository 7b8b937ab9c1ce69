package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	hoynet "hoy/linux/netlink"
	"hoy/network/firewall"
)

// A carrier is a host of its own with two containers on a bridge and a peer in its LAN.
type carrier struct {
	name                string
	host, peer, one, to *os.File // network namespaces; to serves
	published           string   // where the peer finds its port 80: of the host, or its own
	close               func()
}

func newNamespace() (*os.File, error) {
	ns, err := hoynet.NewNamespace()
	if err == nil {
		err = hoynet.LoopbackUp(ns)
	}
	return ns, err
}

// plug makes a veth pair: one end in the host, below a bridge if there is a name of one.
func (c *carrier) plug(name string, into *os.File, address, bridge, gateway string) error {
	err := hoynet.In(c.host, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, PeerName: "eth0", PeerNamespace: netlink.NsFd(into.Fd())}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		if bridge != "" {
			b, err := netlink.LinkByName(bridge)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(v, b); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(v)
	})
	if err == nil {
		err = hoynet.In(into, func() error { return address4("eth0", address) })
	}
	if err != nil || gateway == "" {
		return err
	}
	return hoynet.In(into, func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}) })
}

func address4(link, address string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// newCarrier makes the host and its peer.
func newCarrier(name string) (c *carrier, err error) {
	c = &carrier{name: name, published: "192.0.2.1:18080", close: func() {}}
	if c.host, err = newNamespace(); err != nil {
		return nil, err
	}
	if c.peer, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := c.plug("lan0", c.peer, "192.0.2.2/24", "", ""); err != nil {
		return nil, err
	}
	return c, hoynet.In(c.host, func() error { return address4("lan0", "192.0.2.1/24") })
}

// bare is two containers made by hand: a bridge, and a veth pair for each.
func bare(name, bridge string, gateway netip.Prefix, one, to netip.Addr) (*carrier, error) {
	c, err := newCarrier(name)
	if err != nil {
		return nil, err
	}
	if err := hoynet.In(c.host, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge, Group: firewall.Group}}); err != nil {
			return err
		}
		return errors.Join(address4(bridge, gateway.String()), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	}); err != nil {
		return nil, err
	}
	if c.one, err = newNamespace(); err != nil {
		return nil, err
	}
	if c.to, err = newNamespace(); err != nil {
		return nil, err
	}
	for _, e := range []struct {
		name    string
		ns      *os.File
		address netip.Addr
	}{{"one", c.one, one}, {"to", c.to, to}} {
		if err := c.plug(e.name, e.ns, netip.PrefixFrom(e.address, gateway.Bits()).String(), bridge, gateway.Addr().String()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// unruled is what the kernel does without any rule: the peer has a route to the container.
func unruled() (*carrier, error) {
	c, err := bare("bare, no rules", "br0", netip.MustParsePrefix("172.30.0.1/24"), netip.MustParseAddr("172.30.0.2"), netip.MustParseAddr("172.30.0.3"))
	if err != nil {
		return nil, err
	}
	c.published = "172.30.0.3:80"
	return c, hoynet.In(c.peer, func() error {
		_, all, _ := net.ParseCIDR("172.30.0.0/24")
		return netlink.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP("192.0.2.1")})
	})
}

// ruled is a bare one with the rules of h, which is hoy's: the same table for the same
// addresses, on a bridge of the same name.
func ruled(h *carrier, bridge string) (*carrier, error) {
	at := func(ns *os.File, link string) (p netip.Prefix, err error) {
		err = hoynet.In(ns, func() error {
			i, err := net.InterfaceByName(link)
			if err != nil {
				return err
			}
			all, err := i.Addrs()
			for _, a := range all {
				if x, err := netip.ParsePrefix(a.String()); err == nil && x.Addr().Is4() {
					p = x
				}
			}
			return err
		})
		return p, err
	}
	gateway, err := at(h.host, bridge)
	one, err2 := at(h.one, "eth0")
	to, err3 := at(h.to, "eth0")
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	c, err := bare("bare, hoy's rules", bridge, gateway, one.Addr(), to.Addr())
	if err != nil {
		return nil, err
	}
	var rules string
	if err := hoynet.In(h.host, func() (err error) {
		rules, err = output(exec.Command("nft", "list", "ruleset"))
		return err
	}); err != nil {
		return nil, err
	}
	return c, hoynet.In(c.host, func() error {
		load := exec.Command("nft", "-f", "-")
		load.Stdin = strings.NewReader(rules)
		_, err := output(load)
		return errors.Join(err, os.WriteFile("/proc/sys/net/ipv4/conf/"+bridge+"/route_localnet", []byte("1"), 0))
	})
}
