package options

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// published is one --publish: a range of container ports, and where they appear.
type published struct {
	ip        netip.Addr
	host      [2]uint16 // 0, 0: any free port
	container [2]uint16
	proto     network.IPProtocol
}

const publishExample = "write [[ip:]host-port:]port[/protocol], like 8080:80 or 127.0.0.1:5353:53/udp"

func checkPublish(s string) (string, error) { _, err := parsePublish(s); return s, err }

// parsePublish reads docker's two ways to write a published port: 8080:80/tcp, and
// target=80,published=8080,protocol=tcp.
func parsePublish(s string) (p published, err error) {
	if strings.Contains(s, "=") {
		return parseLongPublish(s)
	}
	spec, proto, hasProto := strings.Cut(s, "/")
	if p.proto, err = parseProto(proto, hasProto); err != nil {
		return p, err
	}
	ip, host, port, err := splitPublish(spec)
	if err != nil {
		return p, fmt.Errorf("%q is no port: %w: %s", s, err, publishExample)
	}
	if ip != "" {
		if p.ip, err = netip.ParseAddr(ip); err != nil {
			return p, fmt.Errorf("invalid IP address: %s in %q: %s", ip, s, publishExample)
		}
	}
	if p.container, err = parseRange(port); err != nil || p.container[0] == 0 {
		return p, fmt.Errorf("invalid containerPort: %q in %q: %s", port, s, publishExample)
	}
	if host == "" {
		return p, nil
	}
	if p.host, err = parseRange(host); err != nil {
		return p, fmt.Errorf("invalid hostPort: %q in %q: %s", host, s, publishExample)
	}
	return p, p.lengths(s)
}

// lengths wants as many host ports as container ports; several host ports for one
// container port mean any of them.
func (p published) lengths(s string) error {
	c, h := p.container[1]-p.container[0], p.host[1]-p.host[0]
	if p.host == [2]uint16{} || c == h || c == 0 {
		return nil
	}
	return fmt.Errorf("invalid ranges in %q: %d container ports and %d host ports", s, c+1, h+1)
}

// splitPublish cuts ip:host:port, in which the IP address may be [v6].
func splitPublish(s string) (ip, host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !strings.HasPrefix(s[end+1:], ":") {
			return "", "", "", errors.New("an IPv6 address ends with ] and a colon")
		}
		ip, s = s[1:end], s[end+2:]
		if !strings.Contains(s, ":") {
			return "", "", "", errors.New("the host port is missing (it may be empty: [ip]::port)")
		}
	}
	parts := strings.Split(s, ":")
	port = parts[len(parts)-1]
	switch {
	case port == "":
		return "", "", "", errors.New("no port specified")
	case len(parts) == 1:
		return ip, "", port, nil
	case len(parts) == 2:
		return ip, parts[0], port, nil
	case ip != "":
		return "", "", "", errors.New("too many colons")
	}
	n := len(parts)
	return strings.Join(parts[:n-2], ":"), parts[n-2], port, nil
}

func parseProto(s string, given bool) (network.IPProtocol, error) {
	switch p := network.IPProtocol(strings.ToLower(s)); {
	case !given:
		return network.TCP, nil
	case p == network.TCP, p == network.UDP, p == network.SCTP:
		return p, nil
	}
	return "", fmt.Errorf("invalid proto: %q is none of tcp, udp, sctp", s)
}

func parseRange(s string) (r [2]uint16, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if !isRange {
		b = a
	}
	for i, t := range []string{a, b} {
		n, err := strconv.ParseUint(t, 10, 16)
		if err != nil {
			return r, fmt.Errorf("%q is no port number (0 to 65535)", t)
		}
		r[i] = uint16(n)
	}
	if r[1] < r[0] {
		return r, fmt.Errorf("the range %q runs backwards", s)
	}
	return r, nil
}

func parseLongPublish(s string) (p published, err error) {
	p.proto = network.TCP
	for _, field := range strings.Split(s, ",") {
		k, v, _ := strings.Cut(field, "=")
		switch strings.ToLower(k) {
		case "target":
			p.container, err = parseRange(v)
		case "published":
			p.host, err = parseRange(v)
		case "protocol":
			p.proto, err = parseProto(v, true)
		case "mode":
			if v != "host" && v != "ingress" {
				err = fmt.Errorf("invalid publish mode value (%s)", v)
			}
		default:
			err = fmt.Errorf("unknown key %q", k)
		}
		if err != nil {
			return p, fmt.Errorf("%q is no port: %w: write target=80,published=8080,protocol=tcp", s, err)
		}
	}
	if p.container[0] == 0 {
		return p, fmt.Errorf("%q is no port: target is missing: write target=80,published=8080,protocol=tcp", s)
	}
	return p, p.lengths(s)
}

// add puts the ports into the two maps of the create request.
func (p published) add(exposed network.PortSet, bound network.PortMap) {
	for i := 0; i <= int(p.container[1])-int(p.container[0]); i++ {
		port, _ := network.PortFrom(p.container[0]+uint16(i), p.proto)
		exposed[port] = struct{}{}
		b := network.PortBinding{HostIP: p.ip}
		switch {
		case p.host == [2]uint16{}:
		case p.container[0] == p.container[1] && p.host[0] != p.host[1]:
			b.HostPort = fmt.Sprintf("%d-%d", p.host[0], p.host[1])
		default:
			b.HostPort = strconv.Itoa(int(p.host[0]) + i)
		}
		bound[port] = append(bound[port], b)
	}
}

func checkExpose(s string) (string, error) { _, err := parseExpose(s); return s, err }

func parseExpose(s string) (network.PortRange, error) {
	if strings.Contains(s, ":") {
		return network.PortRange{}, fmt.Errorf("invalid port format for --expose: %s: publish a port on the host by -p", s)
	}
	ports, proto, has := strings.Cut(s, "/")
	p, err := parseProto(proto, has)
	if err != nil {
		return network.PortRange{}, err
	}
	r, err := parseRange(ports)
	if err != nil || r[0] == 0 {
		return network.PortRange{}, fmt.Errorf("invalid range format for --expose: %q: write a port like 80, 53/udp or 8000-8010", s)
	}
	out, _ := network.PortRangeFrom(r[0], r[1], p)
	return out, nil
}

func (o *Create) ports() (network.PortSet, network.PortMap, error) {
	exposed, bound := network.PortSet{}, network.PortMap{}
	for _, s := range o.publish.v {
		p, err := parsePublish(s)
		if err != nil {
			return nil, nil, err
		}
		p.add(exposed, bound)
	}
	for _, s := range o.expose.v {
		r, err := parseExpose(s)
		if err != nil {
			return nil, nil, err
		}
		for p := range r.All() {
			exposed[p] = struct{}{}
		}
	}
	return exposed, bound, nil
}
