package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hoy/linux/nft"
)

// cleaner deletes what connection tracking holds of ports that are no longer published,
// and of flows that go elsewhere than published ports lead now. Without it a client
// that goes on sending UDP from the same port would go on meeting the container that is
// gone: rules are only asked about new flows. Nothing else is touched.
//
// The kernel walks its whole table for that, five milliseconds even if it is empty, so
// that nobody waits for it. Who publishes such a port again keeps its flows (keep): they
// go where they should, and a container that does not know them resets them.
type cleaner struct {
	failed func(error)

	mu      sync.Mutex
	idle    *sync.Cond
	busy    bool
	next    staleFlows // what the next walk is for
	running []Port     // gone ports whose flows the present walk ends
}

func newCleaner(failed func(error)) *cleaner {
	c := &cleaner{failed: failed}
	c.idle = sync.NewCond(&c.mu)
	return c
}

// forget has the flows of gone ports deleted, and those that do not go where now says.
func (c *cleaner) forget(gone, now []Port) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next.gone = append(c.next.gone, gone...)
	for _, p := range now {
		if p.Proto != "tcp" { // a new TCP connection is a new flow
			c.next.now = append(c.next.now, p)
		}
	}
	if !c.busy && !c.next.empty() {
		c.busy = true
		go c.work()
	}
}

func (c *cleaner) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.next.empty() {
		f := c.next
		f.host, f.still = sync.OnceValue(hostAddresses), c.stillGone
		c.next, c.running = staleFlows{}, f.gone
		c.mu.Unlock()
		err := f.delete()
		c.mu.Lock()
		if err != nil {
			c.failed(err)
		}
		c.running = nil
	}
	c.busy = false
	c.idle.Broadcast()
}

// keep has the flows of ports not ended that are published again: new ones could not be
// told from old ones. It returns those ports whose flows would have been ended.
func (c *cleaner) keep(ports []Port) (kept []Port) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := func(p Port) bool { return slices.Contains(ports, p) }
	for _, list := range []*[]Port{&c.next.gone, &c.running} {
		for _, p := range *list {
			if again(p) {
				kept = append(kept, p)
			}
		}
		*list = slices.DeleteFunc(slices.Clone(*list), again)
	}
	return kept
}

// stillGone tells whether the present walk is to end the flows of a gone port.
func (c *cleaner) stillGone(p Port) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.running, p)
}

// settle returns when there is nothing to do.
func (c *cleaner) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.busy {
		c.idle.Wait()
	}
}

// staleFlows matches the flows to delete.
type staleFlows struct {
	gone, now []Port
	still     func(Port) bool // a gone port has not come back
	host      func() map[netip.Addr]bool
}

func (f staleFlows) empty() bool { return len(f.gone) == 0 && len(f.now) == 0 }

func (f staleFlows) delete() error {
	h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("cannot open connection tracking: %w", err)
	}
	defer time.AfterFunc(nft.Linger, h.Close)
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !f.concerns(family) {
			continue
		}
		if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, family, f); err != nil {
			return fmt.Errorf("cannot end the flows of a published port: %w", err)
		}
	}
	return nil
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
		if protocols[p.Proto] != flow.Forward.Protocol {
			return false
		}
		if p.Host.Port() == 0 { // routed
			return to == p.Container.Addr() && p.Container.Port() == flow.Forward.DstPort
		}
		return p.Host.Port() == flow.Forward.DstPort && p.covers(to)
	}
	there := func(p Port) bool { return from == p.Container.Addr() && flow.Reverse.SrcPort == p.Container.Port() }
	for _, p := range f.gone {
		if matches(p) && there(p) && f.still(p) {
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
