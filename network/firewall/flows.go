package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forget deletes what connection tracking holds of ports that are no longer published,
// and of flows that go elsewhere than published ports lead now. Without it a client
// that goes on sending UDP from the same port would go on meeting the container that is
// gone: rules are only asked about new flows. Nothing else is touched.
func forget(gone, now []Port) error {
	f := staleFlows{gone: gone, host: sync.OnceValue(hostAddresses)}
	for _, p := range now {
		if p.Proto != "tcp" { // a new TCP connection is a new flow
			f.now = append(f.now, p)
		}
	}
	if len(f.gone) == 0 && len(f.now) == 0 {
		return nil
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !f.concerns(family) {
			continue
		}
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, f); err != nil {
			return fmt.Errorf("cannot end the flows of a published port: %w", err)
		}
	}
	return nil
}

// staleFlows matches the flows that forget deletes.
type staleFlows struct {
	gone, now []Port
	host      func() map[netip.Addr]bool
}

func (f staleFlows) concerns(family netlink.InetFamily) bool {
	for _, list := range [][]Port{f.gone, f.now} {
		for _, p := range list {
			if p.Host.Addr().Is4() == (family == unix.AF_INET) {
				return true
			}
		}
	}
	return false
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f staleFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	to, ok := addr(flow.Forward.DstIP)
	from, ok2 := addr(flow.Reverse.SrcIP)
	if !ok || !ok2 {
		return false
	}
	matches := func(p Port) bool {
		return protocols[p.Proto] == flow.Forward.Protocol && p.Host.Port() == flow.Forward.DstPort && p.covers(to)
	}
	there := func(p Port) bool { return from == p.Container.Addr() && flow.Reverse.SrcPort == p.Container.Port() }
	for _, p := range f.gone {
		if matches(p) && there(p) {
			return true
		}
	}
	for _, p := range f.now {
		if matches(p) && !there(p) && f.host()[to] {
			return true
		}
	}
	return false
}

// hostAddresses returns the addresses of the host when they are first asked for: most
// often no flow comes that far.
func hostAddresses() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all[p.Addr().Unmap()] = true
		}
	}
	return all
}

func addr(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}
