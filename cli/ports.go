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

// portRun is a run of ports that follow each other, on both sides alike.
type portRun struct {
	ip, proto          string
	private, public, n int // public 0: exposed only
}

// ports shows ports as docker does: runs of ports as ranges, published ones first
// as address:port->port/protocol.
func ports(list []container.PortSummary) string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), strings.Compare(ipOf(a), ipOf(b)),
			cmp.Compare(a.PublicPort, b.PublicPort), strings.Compare(a.Type, b.Type))
	})
	var runs []portRun
	open := map[string]int{} // the last run of an address and a protocol
	for _, p := range list {
		key := ipOf(p) + "/" + p.Type
		if p.PublicPort == 0 {
			key += "/exposed"
		}
		if i, ok := open[key]; ok && runs[i].extends(p) {
			runs[i].n++
			continue
		}
		open[key] = len(runs)
		runs = append(runs, portRun{ipOf(p), p.Type, int(p.PrivatePort), int(p.PublicPort), 1})
	}
	var out []string
	for _, r := range runs {
		out = append(out, r.String())
	}
	return strings.Join(out, ", ")
}

func ipOf(p container.PortSummary) string {
	if !p.IP.IsValid() {
		return ""
	}
	return p.IP.String()
}

func (r portRun) extends(p container.PortSummary) bool {
	if int(p.PrivatePort) != r.private+r.n {
		return false
	}
	return r.public == 0 && p.PublicPort == 0 || r.public != 0 && int(p.PublicPort) == r.public+r.n
}

func (r portRun) String() string {
	span := func(from int) string {
		if r.n == 1 {
			return strconv.Itoa(from)
		}
		return fmt.Sprintf("%d-%d", from, from+r.n-1)
	}
	if r.public == 0 {
		return span(r.private) + "/" + r.proto
	}
	return net.JoinHostPort(r.ip, span(r.public)) + "->" + span(r.private) + "/" + r.proto
}
