package names

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// HostConfig is where the host's servers are: resolv.conf(5).
const HostConfig = "/etc/resolv.conf"

const (
	maxServers = 3                // MAXNS of resolv.conf(5)
	checkAfter = time.Second      // how old what we know of resolv.conf may be
	avoidFor   = 10 * time.Second // after which a server that did not answer is asked first again
)

// server is one to ask.
type server struct {
	addr  netip.AddrPort
	avoid atomic.Int64 // Unix nanoseconds until which others are asked first
}

func serversOf(addrs []netip.AddrPort) (ss []*server) {
	for _, a := range addrs {
		ss = append(ss, &server{addr: a})
	}
	return ss
}

// inOrder returns the servers in the order in which to ask them.
func inOrder(ss []*server) []*server {
	now := time.Now().UnixNano()
	good := func(s *server) bool { return s.avoid.Load() <= now }
	if !slices.ContainsFunc(ss, func(s *server) bool { return !good(s) }) {
		return ss
	}
	var first, then []*server
	for _, s := range ss {
		if good(s) {
			first = append(first, s)
		} else {
			then = append(then, s)
		}
	}
	return append(first, then...)
}

// Host are the servers of the host, as its resolv.conf says now.
type Host struct {
	path string
	room *room // of all who ask

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
	servers []*server
}

// NewHost follows the resolv.conf at path.
func NewHost(path string) *Host { return &Host{path: path, room: newRoom()} }

// stamp changes when the file does.
type stamp struct {
	dev, inode uint64
	size       int64
	changed    syscall.Timespec
}

// get reads the file again if it has changed; it looks once a second at most.
func (h *Host) get() []*server {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.servers != nil && now.Sub(h.checked) < checkAfter {
		return h.servers
	}
	h.checked = now
	var at stamp
	if fi, err := os.Stat(h.path); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			at = stamp{st.Dev, st.Ino, st.Size, st.Ctim}
		}
	}
	if h.servers != nil && at == h.stamp {
		return h.servers
	}
	text, err := os.ReadFile(h.path)
	if err != nil && h.servers != nil {
		return h.servers // it is just being replaced
	}
	h.stamp = at
	// Those that are still there are known to answer, or not to.
	old := h.servers
	h.servers = serversOf(readServers(text))
	for i, s := range h.servers {
		if j := slices.IndexFunc(old, func(o *server) bool { return o.addr == s.addr }); j >= 0 {
			h.servers[i] = old[j]
		}
	}
	return h.servers
}

// readServers reads resolv.conf(5): without a server, the local machine is one.
func readServers(text []byte) (as []netip.AddrPort) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() && len(as) < maxServers {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			as = append(as, netip.AddrPortFrom(a, 53))
		}
	}
	if as == nil {
		as = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return as
}
