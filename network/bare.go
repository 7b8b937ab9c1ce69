package network

import "hoy/lib/fault"

// bare tells whether the engine makes no rules for a family.
func (n *Networks) bare(v6 bool) bool {
	if v6 {
		return n.opts.Bare6
	}
	return n.opts.Bare4
}

// apart refuses a network whose containers are to be kept apart without the rules for it.
func (n *Networks) apart(s *segment) error {
	if s.Driver != "bridge" || !s.noICC || s.ConfigOnly {
		return nil
	}
	for _, sub := range s.Subnets {
		if n.bare(sub.is6()) {
			return fault.New(fault.Invalid, "cannot keep the containers of network %s apart (icc=false) without rules (--iptables=false or --ip6tables=false)", s.Name)
		}
	}
	return nil
}
