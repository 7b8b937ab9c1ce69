package network

import (
	"slices"
	"sync"
	"time"

	"hoy/linux/netlink"
)

// lingers is how long the kernel may take to remove the link of a container that has
// ended. It does so with the namespace, many at once, which costs less than to ask for it.
const lingers = time.Second

// lingering are links of containers that have ended. The kernel keeps a namespace for as
// long as a connection of it has something to send to a peer that does not answer, which
// is minutes (tcp_orphan_retries, tcp(7)). With its link there the namespace would go on
// to answer for an address that somebody else may have by then.
type lingering struct {
	mu    sync.Mutex
	links []string
	timer *time.Timer // nil: there are none
}

// linger has a link removed that does not go by itself.
func (n *Networks) linger(link string) {
	l := &n.lingering
	l.mu.Lock()
	defer l.mu.Unlock()
	l.links = append(l.links, link)
	if l.timer == nil {
		l.timer = time.AfterFunc(lingers, func() { n.unlinkAll(l.take()) })
	}
}

// endLingering has them gone at the engine's end: by themselves, if that takes no longer.
func (n *Networks) endLingering() {
	links := n.lingering.take()
	gone := func(link string) bool { _, err := netlink.Index(link); return err != nil }
	for end := time.Now().Add(lingers); len(links) > 0 && time.Now().Before(end); time.Sleep(lingers / 100) {
		links = slices.DeleteFunc(links, gone)
	}
	n.unlinkAll(links)
}

func (l *lingering) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	links := l.links
	if l.timer != nil {
		l.timer.Stop()
	}
	l.links, l.timer = nil, nil
	return links
}

func (n *Networks) unlinkAll(links []string) {
	for _, link := range links {
		n.warn("remove the link of a container that has ended", netlink.DelLink(link))
	}
}
