package network

import (
	"context"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/netlink"
)

// announce tells the neighbours of endpoints their addresses, in the background: after a
// while first, and again as often as the networks' options say, but at most so many times.
// It returns what ends that.
func (n *Networks) announce(netns *os.File, endpoints []Endpoint, after time.Duration, most int) (stop context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, e := range endpoints {
		n.mu.Lock()
		s := n.segments[e.NetworkID]
		n.mu.Unlock()
		if s == nil || e.MAC == nil || s.announce.count == 0 {
			continue
		}
		fd, err := unix.FcntlInt(netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			n.warn("announce the addresses of a container", err)
			continue
		}
		how := announcement{count: min(most, s.announce.count), interval: s.announce.interval}
		time.AfterFunc(after, func() { n.announceOne(ctx, os.NewFile(uintptr(fd), "netns"), e, how) })
	}
	return cancel
}

// announceOne announces an endpoint until ctx ends. It closes netns at once: what is left
// to keep the namespace are the sockets.
func (n *Networks) announceOne(ctx context.Context, netns *os.File, e Endpoint, how announcement) {
	l := e.addresses()
	var to []netip.Addr
	for _, p := range l {
		to = append(to, p.Addr())
	}
	if ctx.Err() != nil {
		netns.Close()
		return
	}
	a, err := netlink.NewAnnouncer(netns, e.Interface, e.MAC, to)
	netns.Close()
	if err != nil {
		n.opts.Log.Debug("cannot announce a container", "error", err) // it may have ended
		return
	}
	defer a.Close()
	tick := time.NewTicker(time.Duration(how.interval) * time.Millisecond)
	defer tick.Stop()
	for range how.count {
		if ctx.Err() != nil {
			return
		}
		if err := a.Send(); err != nil {
			n.opts.Log.Debug("cannot announce a container", "error", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
