package hostfw

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"hoy/network/firewall"
)

// ipset is a list of addresses of firewalld (firewalld.ipset(5)).
type ipset struct {
	Type    string   `xml:"type,attr"`
	Options []option `xml:"option"`
	Entries []string `xml:"entry"`
}

type option struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// ipset reads one of the files; the administrator's is before the other.
func (f *firewalld) ipset(name string) (s ipset, err error) {
	if f.ipsets != nil {
		s, ok := f.ipsets[name]
		if !ok {
			return s, fmt.Errorf("there is no ipset %s", name)
		}
		return s, nil
	}
	for _, dir := range firewalldDirs {
		err := readXML(f.host.path(filepath.Join(dir, "ipsets", filepath.Base(name)+".xml")), &s)
		if !errors.Is(err, os.ErrNotExist) {
			return s, err
		}
	}
	return s, fmt.Errorf("there is no ipset %s", name)
}

// source is who a zone or a rich rule is about: a prefix, or a set.
func (f *firewalld) source(a address) (from netip.Prefix, set *firewall.AddressSet, err error) {
	if a.IPSet != "" {
		if set = f.sets[a.IPSet]; set == nil {
			s, err := f.ipset(a.IPSet)
			if err != nil {
				return from, nil, err
			}
			if set, err = s.addresses("ipset " + a.IPSet); err != nil {
				return from, nil, err
			}
			if f.sets == nil {
				f.sets = map[string]*firewall.AddressSet{}
			}
			f.sets[a.IPSet] = set
		}
		return from, set, nil
	}
	if from, err = parsePrefix(a.Address); err == nil {
		return from, nil, nil
	}
	if mac, err := linkAddress(cmp.Or(a.MAC, a.Address)); err == nil {
		return from, &firewall.AddressSet{Name: "link address " + mac.String(), MACs: []net.HardwareAddr{mac}}, nil
	}
	return from, nil, fmt.Errorf("source %s%s", a.Address, a.MAC)
}

// addresses are the set as a policy has it. It knows those of addresses, networks and link
// addresses; their entries with a time to live are the kernel's alone.
func (s ipset) addresses(name string) (*firewall.AddressSet, error) {
	for _, o := range s.Options {
		if o.Name == "timeout" && o.Value != "" && o.Value != "0" {
			return nil, fmt.Errorf("%s, whose entries time out", name)
		}
	}
	out := &firewall.AddressSet{Name: name}
	switch s.Type {
	case "hash:mac":
		out.MACs = []net.HardwareAddr{}
		for _, e := range s.Entries {
			mac, err := linkAddress(e)
			if err != nil {
				return nil, fmt.Errorf("%s, whose entry %q is no link address", name, e)
			}
			out.MACs = append(out.MACs, mac)
		}
	case "hash:ip", "hash:net":
		for _, e := range s.Entries {
			r, err := addressRange(e)
			if err == nil && len(out.Ranges) > 0 && r.First.Is4() != out.Ranges[0].First.Is4() {
				err = fmt.Errorf("address %q is of the other family", e)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out.Ranges = append(out.Ranges, r)
		}
	default:
		return nil, fmt.Errorf("%s, which is of type %s", name, s.Type)
	}
	return out, nil
}

func linkAddress(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err == nil && len(mac) != 6 {
		err = errors.New("no Ethernet address")
	}
	return mac, err
}

// addressRange reads 10.0.0.1, 10.0.0.0/8 and 10.0.0.1-10.0.0.9.
func addressRange(s string) (r firewall.AddressRange, err error) {
	if a, b, two := strings.Cut(s, "-"); two {
		if r.First, err = netip.ParseAddr(a); err == nil {
			r.Last, err = netip.ParseAddr(b)
		}
		if err != nil || r.First.Is4() != r.Last.Is4() || r.Last.Less(r.First) {
			return r, fmt.Errorf("range %q", s)
		}
		return r, nil
	}
	p, err := parsePrefix(s)
	if err != nil {
		return r, err
	}
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	r.First = p.Addr()
	r.Last, _ = netip.AddrFromSlice(last)
	return r, nil
}
