package network

import (
	"hoy/linux/idmap"
	"hoy/linux/netlink"
)

// namespaces makes the namespaces of a container.
func (n *Networks) namespaces(hostUser bool) (*prepared, error) {
	var p prepared
	var err error
	if n.opts.UserMap != nil && !hostUser {
		p.userNS, p.netNS, err = idmap.NewPair(n.opts.UserMap)
	} else {
		p.netNS, err = netlink.NewNamespace()
	}
	return &p, err
}

// isolated makes namespaces with the loopback link only.
func (n *Networks) isolated(hostUser bool) (*prepared, error) {
	p, err := n.namespaces(hostUser)
	if err != nil {
		return nil, err
	}
	if err := netlink.LoopbackUp(p.netNS); err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// prepare makes namespaces with an endpoint, and the sockets of a resolver where the
// network has names.
func (n *Networks) prepare(s *segment) (*prepared, error) {
	p, err := n.namespaces(false)
	if err != nil {
		return nil, err
	}
	if p.parent, err = n.indexOf(s); err == nil {
		p.endpoint, _, err = n.endpoint(s, EndpointRequest{}, p.netNS, nil, never)
	}
	if err == nil {
		p.drop = func() { n.giveBack(s, p.endpoint) } // the link goes with the namespace
		if s.hasNames() {
			p.resolver, err = openResolver(p.netNS)
		}
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}
