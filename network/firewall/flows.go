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

	"hoy/linux/conntrack"
	"hoy/linux/nft"
)

// cleaner deletes what connection tracking holds of ports that are no longer published,
// and of flows that go elsewhere than published ports lead now. Without it a client
// that goes on sending UDP from the same port would go on meeting the container that is
// gone: rules are only asked about new flows. Nothing else is touched.
//
// Nobody waits for it. The flows of gone ports the kernel finds by itself, where it can
// (linux/conntrack). For the rest we walk through its whole table, five milliseconds in
// which a processor does nothing else even if it is empty: somewhat later, when what asked
// for it is over, and once for all that did. Who publishes a gone port again keeps its
// flows (keep): they go where they should, and a container that does not know them resets
// them.
type cleaner struct {
	failed func(error)

	mu     sync.Mutex
	turn   *sync.Cond // something below has ended
	busy   bool
	hurry  chan struct{} // a walk is waited for
	next   staleFlows    // what comes next
	ending []Port        // gone ports whose flows the kernel is ending
	walk   staleFlows    // what the present walk is for
}

func newCleaner(failed func(error)) *cleaner {
	c := &cleaner{failed: failed, hurry: make(chan struct{}, 1)}
	c.turn = sync.NewCond(&c.mu)
	return c
}

// forget has the flows of gone ports deleted, and those that do not go where now says.
func (c *cleaner) forget(gone, now []Port) {
	gone, now = unlinked(gone), unlinked(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	over := func(p Port) bool { return slices.Contains(gone, p) }
	for _, list := range []*[]Port{&c.next.now, &c.walk.now} {
		*list = slices.DeleteFunc(slices.Clone(*list), over)
	}
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

// unlinked are ports as flows know them: by addresses alone.
func unlinked(ports []Port) []Port {
	ports = slices.Clone(ports)
	for i := range ports {
		ports[i].Link = ""
	}
	return ports
}

func (c *cleaner) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.next.empty() {
		f := c.next
		c.next, c.ending, c.walk.now = staleFlows{}, f.gone, f.now
		c.mu.Unlock()
		rest := end(f.gone)
		c.mu.Lock()
		c.ending, c.walk.gone = nil, rest
		c.turn.Broadcast()
		if !c.walk.empty() {
			c.mu.Unlock()
			c.wander(staleFlows{gone: rest, now: f.now})
			c.mu.Lock()
		}
		c.walk = staleFlows{}
	}
	c.busy = false
	c.turn.Broadcast()
}

// wander walks, when some time has passed.
func (c *cleaner) wander(f staleFlows) {
	select {
	case <-time.After(later):
	case <-c.hurry:
	}
	f.host, f.still = sync.OnceValue(hostAddresses), c.still
	f.index()
	if err := f.delete(); err != nil {
		c.failed(err)
	}
}

// later is how much a walk waits for others.
const later = 100 * time.Millisecond

// few ports are looked for one by one: more in one walk.
const few = 16

// end has the kernel end the flows of gone ports. It returns the ports that need a walk.
func end(gone []Port) (rest []Port) {
	if len(gone) > few {
		return gone
	}
	var all []conntrack.Flows
	for _, p := range gone {
		f := conntrack.Flows{Proto: protocols[p.Proto], To: p.Host, By: p.Container}
		if p.Host.Port() == 0 { // routed
			f.To = p.Container
		}
		if f.To.Addr().Is4() {
			all = append(all, f)
		} else {
			rest = append(rest, p)
		}
	}
	if len(all) > 0 && conntrack.Delete(all...) != nil { // an older kernel
		return gone
	}
	return rest
}

// keep has the flows of ports not ended that are published again: new ones could not be
// told from old ones. It returns those ports whose flows would have been ended.
func (c *cleaner) keep(ports []Port) (kept []Port) {
	ports = unlinked(ports)
	c.mu.Lock()
	defer c.mu.Unlock()
	again := func(p Port) bool { return slices.Contains(ports, p) }
	for slices.ContainsFunc(c.ending, again) { // a millisecond at most, and what comes then is new
		c.turn.Wait()
	}
	for _, list := range []*[]Port{&c.next.gone, &c.walk.gone} {
		for _, p := range *list {
			if again(p) {
				kept = append(kept, p)
			}
		}
		*list = slices.DeleteFunc(slices.Clone(*list), again)
	}
	return kept
}

// still tells whether the present walk is for a port: a gone one may have come back, and
// a published one may be gone.
func (c *cleaner) still(p Port, gone bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gone {
		return slices.Contains(c.walk.gone, p)
	}
	return slices.Contains(c.walk.now, p)
}

// settle returns when there is nothing to do.
func (c *cleaner) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.busy {
		select {
		case c.hurry <- struct{}{}:
		default:
		}
		c.turn.Wait()
	}
}

// staleFlows matches the flows to delete.
type staleFlows struct {
	gone, now []Port
	still     func(p Port, gone bool) bool
	host      func() map[netip.Addr]bool

	goneAt, nowAt map[uint16][]Port // the same, by the port that their flows are sent to
}

// index makes goneAt and nowAt: there may be thousands of ports, and many more flows.
func (f *staleFlows) index() {
	by := func(ports []Port) map[uint16][]Port {
		all := map[uint16][]Port{}
		for _, p := range ports {
			at := p.Host.Port()
			if at == 0 { // routed
				at = p.Container.Port()
			}
			all[at] = append(all[at], p)
		}
		return all
	}
	f.goneAt, f.nowAt = by(f.gone), by(f.now)
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
	for _, p := range f.goneAt[flow.Forward.DstPort] {
		if matches(p) && there(p) && f.still(p, true) {
			return true
		}
	}
	for _, p := range f.nowAt[flow.Forward.DstPort] {
		if matches(p) && !there(p) && f.host()[to] && f.still(p, false) {
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
