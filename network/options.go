package network

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hoy/lib/fault"
)

// Options of an endpoint that have an effect. Docker's clients send the link address as
// one too, beside its field.
const (
	ifnameOption  = "com.docker.network.endpoint.ifname"
	sysctlsOption = "com.docker.network.endpoint.sysctls"
	macOption     = "com.docker.network.endpoint.macaddress"
)

// CheckEndpointOptions refuses what EndpointRequest.Options must not say. warnings name
// those without an effect.
func CheckEndpointOptions(options map[string]string) (warnings []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch name {
		case ifnameOption:
			if err := validLink(options[name]); err != nil {
				return nil, fault.As(fault.Invalid, err)
			}
		case sysctlsOption:
			if _, err := endpointSysctls(options[name], "eth0"); err != nil {
				return nil, err
			}
		case macOption:
		default:
			warnings = append(warnings, fmt.Sprintf("endpoint option %s has no effect", name))
		}
	}
	return warnings, nil
}

// endpointSysctls reads "net.X.Y.IFNAME.Z=V,…" into paths below /proc/sys with their values.
func endpointSysctls(v, link string) (map[string]string, error) {
	all := map[string]string{}
	if v == "" {
		return all, nil
	}
	for _, one := range strings.Split(v, ",") {
		name, value, assigned := strings.Cut(one, "=")
		p := strings.Split(name, ".")
		if !assigned || len(p) != 5 || p[0] != "net" || p[1] != "ipv4" && p[1] != "ipv6" && p[1] != "mpls" ||
			!strings.EqualFold(p[3], "ifname") || strings.ContainsAny(name, "/\x00") || slices.Contains(p, "") {
			return nil, fault.New(fault.Invalid, "unrecognised network interface sysctl '%s'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", one)
		}
		p[3] = link
		all[strings.Join(p, "/")] = value
	}
	return all, nil
}
