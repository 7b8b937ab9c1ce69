package hostports

import (
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
)

// candidates are ports in the order in which they are tried.
type candidates struct {
	all iter.Seq[uint16]
	one bool
}

func (p *Ports) candidates(w Wanted) (candidates, error) {
	first, end := w.First, w.Last
	if first == 0 && end == 0 {
		return p.dynamic(w), nil
	}
	if end == 0 {
		end = first
	}
	if first == 0 || end < first {
		return candidates{}, fmt.Errorf("invalid port range: %d-%d", w.First, w.Last)
	}
	all := func(yield func(uint16) bool) {
		for n := int(first); n <= int(end) && yield(uint16(n)); n++ {
		}
	}
	return candidates{all, first == end}, nil
}

// dynamic are the ports that the kernel itself chooses from, the one after the last
// chosen first: a port that was somebody else's a moment ago may still have clients.
// Those of net.ipv4.ip_local_reserved_ports are nobody's to choose.
func (p *Ports) dynamic(w Wanted) candidates {
	first, end := localRange(readSysctl("ip_local_port_range"))
	reserved := portList(readSysctl("ip_local_reserved_ports"))
	p.mu.Lock()
	start := int(p.last[last{w.Proto, w.Hosts[0]}]) + 1
	p.mu.Unlock()
	if start < first || start > end {
		start = first
	}
	return candidates{all: func(yield func(uint16) bool) {
		for i := range end - first + 1 {
			n := uint16(first + (start-first+i)%(end-first+1))
			if !reserved(n) && !yield(n) {
				return
			}
		}
	}}
}

func readSysctl(name string) string {
	b, _ := os.ReadFile("/proc/sys/net/ipv4/" + name)
	return string(b)
}

// localRange reads "32768	60999"; what cannot be read is docker's default.
func localRange(s string) (first, end int) {
	if n, err := fmt.Sscan(s, &first, &end); n != 2 || err != nil || first < 1 || end > 65535 || end < first {
		return 49153, 65535
	}
	return first, end
}

// portList reads "8080,9148-9150".
func portList(s string) func(uint16) bool {
	type span struct{ first, last uint64 }
	var spans []span
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		a, b, two := strings.Cut(part, "-")
		if !two {
			b = a
		}
		first, err := strconv.ParseUint(a, 10, 16)
		last, err2 := strconv.ParseUint(b, 10, 16)
		if err == nil && err2 == nil {
			spans = append(spans, span{first, last})
		}
	}
	return func(p uint16) bool {
		for _, s := range spans {
			if s.first <= uint64(p) && uint64(p) <= s.last {
				return true
			}
		}
		return false
	}
}
