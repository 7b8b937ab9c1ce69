package daemon

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"hoy/lib/fault"
	"hoy/network/firewall"
)

func (f *flags) finishNetworking() (_ []string, err error) {
	o := f.o
	if f.bip != "" {
		if o.BIP, err = netip.ParsePrefix(f.bip); err != nil {
			return nil, fault.New(fault.Invalid, "--bip: %w", err)
		}
	}
	if err := f.finishDefaultNetwork(); err != nil {
		return nil, err
	}
	if o.MTU < 0 {
		return nil, fault.New(fault.Invalid, "invalid default MTU: %d", o.MTU)
	}
	for _, p := range f.pools {
		pool, err := parsePool(p)
		if err != nil {
			return nil, fault.New(fault.Invalid, "--default-address-pool %s: %w", p, err)
		}
		o.Pools = append(o.Pools, pool)
	}
	if o.DNS, err = addresses(f.dns); err != nil {
		return nil, fault.New(fault.Invalid, "--dns: %w", err)
	}
	gateways, err := addresses(f.hostGateways)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--host-gateway-ip: %w", err)
	}
	for _, a := range gateways {
		family, own := "IPv4", &o.HostGateway
		if a.Is6() {
			family, own = "IPv6", &o.HostGateway6
		}
		if own.IsValid() {
			return nil, fault.New(fault.Invalid, "--host-gateway-ip: only one %s host gateway IP address can be specified", family)
		}
		*own = a
	}
	return nil, nil
}

// finishDefaultNetwork reads what the default network shall be.
func (f *flags) finishDefaultNetwork() (err error) {
	o := f.o
	for _, p := range []struct {
		flag, text string
		value      *netip.Prefix
	}{{"bip6", f.bip6, &o.BIP6}, {"fixed-cidr", f.fixed, &o.FixedCIDR}, {"fixed-cidr-v6", f.fixed6, &o.FixedCIDR6}} {
		if p.text == "" {
			continue
		}
		if *p.value, err = netip.ParsePrefix(p.text); err != nil {
			return fault.New(fault.Invalid, "--%s: %w", p.flag, err)
		}
	}
	for _, a := range []struct {
		flag, text string
		value      *netip.Addr
	}{{"default-gateway", f.gateway, &o.Gateway}, {"default-gateway-v6", f.gateway6, &o.Gateway6}, {"ip", f.bindIP, &o.BindIP}} {
		if a.text == "" {
			continue
		}
		if *a.value, err = netip.ParseAddr(a.text); err != nil {
			return fault.New(fault.Invalid, "--%s: %w", a.flag, err)
		}
	}
	if o.BindIP.IsUnspecified() && o.BindIP.Is4() {
		o.BindIP = netip.Addr{} // the default: everywhere, IPv6 too
	}
	if err := oneOf("published-ports", f.hostFirewall, "guarded", "open"); err != nil {
		return err
	}
	o.Unguarded = f.hostFirewall == "open"
	if o.Admit, err = admitMark(f.admit); err != nil {
		return err
	}
	if o.NetworkOpts, err = networkOpts(f.networkOpts); err != nil {
		return err
	}
	return nil
}

// admitMark reads mark[/mask], numbers in any of Go's notations.
func admitMark(text string) (m firewall.AdmitMark, _ error) {
	if text == "" {
		return m, nil
	}
	mark, mask, masked := strings.Cut(text, "/")
	if !masked {
		mask = "0xffffffff"
	}
	v, err := strconv.ParseUint(mark, 0, 32)
	b, maskErr := strconv.ParseUint(mask, 0, 32)
	if err := errors.Join(err, maskErr); err != nil {
		return m, fault.New(fault.Invalid, "--bridge-accept-fwmark %s: want mark[/mask]: %w", text, err)
	}
	if b == 0 || v&^b != 0 {
		return m, fault.New(fault.Invalid, "--bridge-accept-fwmark %s: the mask must have the bits of the mark", text)
	}
	return firewall.AdmitMark{Value: uint32(v), Mask: uint32(b)}, nil
}

// networkOpts reads driver=key=value.
func networkOpts(list []string) (map[string]map[string]string, error) {
	m := map[string]map[string]string{}
	for _, text := range list {
		driver, rest, ok := strings.Cut(text, "=")
		k, v, has := strings.Cut(rest, "=")
		if !ok || !has || driver == "" || k == "" {
			return nil, fault.New(fault.Invalid, "--default-network-opt %s: want driver=key=value", text)
		}
		if m[driver] == nil {
			m[driver] = map[string]string{}
		}
		m[driver][k] = v
	}
	return m, nil
}
