package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hoy/lib/fault"
	"hoy/network/ipam"
)

// uniqueLabels drops repeated labels and refuses contradictory ones.
func uniqueLabels(labels []string) ([]string, error) {
	seen := map[string]string{}
	for _, l := range labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, fault.New(fault.Invalid, "--label: bad attribute format: %s", l)
		}
		if old, twice := seen[k]; twice && old != v {
			return nil, fault.New(fault.Invalid, "conflict labels for %s=%s and %s=%s", k, v, k, old)
		}
		seen[k] = v
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		list = append(list, k+"="+seen[k])
	}
	return list, nil
}

// maskCredentials is a URL as others may see it.
func maskCredentials(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	u.User = url.UserPassword("xxxxx", "xxxxx")
	return u.String()
}

func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fault.New(fault.Invalid, "--%s: %q is not one of %s", flag, value, strings.Join(allowed, ", "))
}

func addresses(texts []string) (l []netip.Addr, err error) {
	for _, t := range texts {
		a, err := netip.ParseAddr(t)
		if err != nil {
			return nil, err
		}
		l = append(l, a)
	}
	return l, nil
}

func pairs(flag string, texts []string) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range texts {
		k, v, ok := strings.Cut(t, "=")
		if !ok || k == "" {
			return nil, fault.New(fault.Invalid, "%s: want key=value, not %q", flag, t)
		}
		m[k] = v
	}
	return m, nil
}

// parsePool reads docker's base=172.80.0.0/16,size=24.
func parsePool(s string) (p ipam.Pool, err error) {
	for part := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "base":
			if p.Base, err = netip.ParsePrefix(v); err != nil {
				return p, err
			}
		case "size":
			if p.Size, err = strconv.Atoi(v); err != nil {
				return p, err
			}
		default:
			return p, fmt.Errorf("unexpected key %q", k)
		}
	}
	longest := 30
	if p.Base.Addr().Is6() {
		longest = 126
	}
	if !p.Base.IsValid() || p.Size < p.Base.Bits() || p.Size > longest {
		return p, fmt.Errorf("want a base and a size between its length and %d", longest)
	}
	return p, nil
}

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:4])
}
