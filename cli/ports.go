package cli

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// portRun is a run of ports that follow each other and are the same on both sides.
type portRun struct {
	ip, proto   string // ip "" for ports that are exposed only
	first, last int
}

func (r portRun) String() string {
	span := strconv.Itoa(r.first)
	if r.last != r.first {
		span += "-" + strconv.Itoa(r.last)
	}
	if r.ip != "" {
		span = net.JoinHostPort(r.ip, span) + "->" + span
	}
	return span + "/" + r.proto
}

// ports shows ports as docker does: runs first, as they are broken off, then ports
// that have another number outside, each by itself.
func ports(list []container.PortSummary) string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), strings.Compare(ipOf(a), ipOf(b)),
			cmp.Compare(a.PublicPort, b.PublicPort), strings.Compare(a.Type, b.Type))
	})
	var ended, mapped []string
	var open []*portRun
	for _, p := range list {
		n, ip := int(p.PrivatePort), ipOf(p)
		if ip != "" && p.PublicPort != p.PrivatePort {
			mapped = append(mapped, fmt.Sprintf("%s->%d/%s", net.JoinHostPort(ip, strconv.Itoa(int(p.PublicPort))), n, p.Type))
			continue
		}
		i := slices.IndexFunc(open, func(r *portRun) bool { return r.ip == ip && r.proto == p.Type })
		switch {
		case i < 0:
			open = append(open, &portRun{ip, p.Type, n, n})
		case n == open[i].last+1:
			open[i].last = n
		default:
			ended = append(ended, open[i].String())
			*open[i] = portRun{ip, p.Type, n, n}
		}
	}
	for _, r := range open {
		ended = append(ended, r.String())
	}
	return strings.Join(append(ended, mapped...), ", ")
}

func ipOf(p container.PortSummary) string {
	if !p.IP.IsValid() {
		return ""
	}
	return p.IP.String()
}
