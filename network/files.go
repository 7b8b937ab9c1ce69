package network

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Host is a line of /etc/hosts: an address and the names it has.
type Host struct {
	Address netip.Addr
	Names   []string
}

// Hosts returns the content of a container's /etc/hosts: the loopback names, those of IPv6
// unless the container has none, then extra in their order.
func Hosts(extra []Host, noIPv6 bool) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n")
	if !noIPv6 {
		b.WriteString("::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	}
	for _, h := range extra {
		fmt.Fprintf(&b, "%s\t%s\n", h.Address, strings.Join(h.Names, " "))
	}
	return b.Bytes()
}

// AmendHosts changes a container's hosts file where the engine's own lines have changed
// from was to is. All else in it, which the container has written, stays.
func AmendHosts(file, was, is []byte) []byte {
	lines := func(b []byte) []string { return strings.SplitAfter(string(b), "\n") }
	old, now := lines(was), lines(is)
	kept := slices.DeleteFunc(lines(file), func(l string) bool { return slices.Contains(old, l) && !slices.Contains(now, l) })
	for _, l := range now {
		if !slices.Contains(old, l) {
			kept = append(kept, l)
		}
	}
	return []byte(strings.Join(kept, ""))
}

// ResolvConf says how a container resolves names. What is empty is taken from the host.
type ResolvConf struct {
	Servers []netip.Addr
	Search  []string // a single "." means: no search domains
	Options []string
}

// OnHost returns the content for a container on the host's network.
func (r ResolvConf) OnHost() []byte {
	host, _ := os.ReadFile(hostResolvConf[0])
	return r.Build(host, true)
}

// Isolated returns the content for a container with a network namespace of its own, which
// may have IPv6 or not.
func (r ResolvConf) Isolated(ipv6 bool) []byte { return r.isolated(hostResolv(readOrNil), ipv6) }

func (r ResolvConf) isolated(host []byte, ipv6 bool) []byte {
	if len(r.Servers) == 0 {
		r.Servers = reachable(host, ipv6)
	}
	return r.Build(host, false)
}

// reachable are those of the host's servers that a container can reach. Where there are
// none, as where only a program on the host itself answers, they are dockerd's.
func reachable(host []byte, ipv6 bool) []netip.Addr {
	from := func(all []netip.Addr) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return a.Is6() && !ipv6 })
	}
	if own := from(readResolvConf(host, false).Servers); len(own) > 0 {
		return own
	}
	return from(publicServers)
}

// publicServers are Google's, which dockerd takes where there is no other.
var publicServers = []netip.Addr{
	netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4"),
	netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2001:4860:4860::8844"),
}

// WithNames returns the content for a container whose keeper answers for the networks
// that it is on, and asks r's servers or the host's for other names. A name without
// dot is asked for as it is first (ndots:0): it may be a container's.
func (r ResolvConf) WithNames() []byte {
	r.Servers = []netip.Addr{Resolver}
	if !slices.ContainsFunc(r.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		host := readResolvConf(hostResolv(readOrNil), true)
		if len(r.Options) == 0 {
			r.Options = slices.DeleteFunc(host.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") })
		}
		r.Options = append(slices.Clone(r.Options), "ndots:0")
	}
	return r.Build(hostResolv(readOrNil), false)
}

// Resolver is where the keeper answers in a container's network namespace.
var Resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})

func readOrNil(path string) []byte {
	b, _ := os.ReadFile(path)
	return b
}

// Build returns the content of a container's /etc/resolv.conf, from the host's (see
// resolv.conf(5)). With loopback false the host's loopback servers are left out: a
// network namespace of its own does not reach them.
func (r ResolvConf) Build(host []byte, loopback bool) []byte {
	h := readResolvConf(host, loopback)
	if len(r.Servers) > 0 {
		h.Servers = r.Servers
	}
	if len(r.Search) > 0 {
		h.Search = r.Search
	}
	if len(r.Options) > 0 {
		h.Options = r.Options
	}
	return h.write()
}

// readResolvConf parses a resolv.conf(5).
func readResolvConf(host []byte, loopback bool) (h ResolvConf) {
	for s := bufio.NewScanner(bytes.NewReader(host)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && (loopback || !a.IsLoopback()) {
				h.Servers = append(h.Servers, a)
			}
		case "search", "domain":
			h.Search = f[1:]
		case "options":
			h.Options = append(h.Options, f[1:]...)
		}
	}
	return h
}

func (r ResolvConf) write() []byte {
	var b bytes.Buffer
	for _, s := range r.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(r.Search) > 0 && (len(r.Search) > 1 || r.Search[0] != ".") {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.Search, " "))
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.Bytes()
}

// hostResolvConf is where the host's resolver settings are, in the order in which
// they are tried: systemd-resolved's own file names the real servers where
// /etc/resolv.conf has only its loopback address.
var hostResolvConf = [...]string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// hostResolv returns the host's resolver settings: the first of its files that names
// a server which a container can reach. read returns nil for a missing file.
func hostResolv(read func(string) []byte) []byte {
	for _, path := range hostResolvConf {
		if b := read(path); bytes.Contains(ResolvConf{}.Build(b, false), []byte("nameserver")) {
			return b
		}
	}
	return read(hostResolvConf[0])
}
