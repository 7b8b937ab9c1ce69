package netlink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Via is how a default route leaves: by Gateway on the link named Link. An unspecified
// gateway (0.0.0.0, ::) is the link itself.
type Via struct {
	Link    string
	Gateway netip.Addr
}

// ChangeDefault replaces the default routes was of the namespace by is, each of which has
// one for IPv4 and one for IPv6 at most. Routes that the container has made itself stay.
func ChangeDefault(ns *os.File, was, is []Via) error {
	return inside(ns, func(h *netlink.Handle) error {
		for i, ways := range [][]Via{was, is} {
			change := h.RouteAdd
			if i == 0 {
				change = func(r *netlink.Route) error {
					if err := h.RouteDel(r); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENOENT) {
						return err
					}
					return nil // the container has removed it
				}
			}
			for _, w := range ways {
				link, err := h.LinkByName(w.Link)
				if errors.As(err, &netlink.LinkNotFoundError{}) && i == 0 {
					continue
				}
				if err == nil {
					err = change(defaultRoute(link.Attrs().Index, w.Gateway))
				}
				if err != nil {
					return fmt.Errorf("failed to set gateway: %w", err)
				}
			}
		}
		return nil
	})
}

// addDefault adds the default route by gateway on a link; none for an invalid gateway.
func addDefault(h *netlink.Handle, link int, gateway netip.Addr) error {
	if !gateway.IsValid() {
		return nil
	}
	if err := h.RouteAdd(defaultRoute(link, gateway)); err != nil {
		return fmt.Errorf("cannot add the default route by %s: %w", gateway, err)
	}
	return nil
}

func defaultRoute(link int, gateway netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: link, Gw: gateway.AsSlice()}
	if gateway.IsUnspecified() {
		r.Gw = nil
		r.Dst = &net.IPNet{IP: gateway.AsSlice(), Mask: net.CIDRMask(0, gateway.BitLen())}
		if gateway.Is4() {
			r.Scope = netlink.SCOPE_LINK
		}
	}
	return r
}

// Routes returns the destinations, IPv4 and IPv6, other than the default, that this
// machine routes by any of its tables, but for those by the links named except: a new
// network must not overlap them.
func Routes(except ...string) ([]netip.Prefix, error) {
	var ps []netip.Prefix
	skip := map[int]bool{}
	for _, name := range except {
		if index, err := Index(name); err == nil {
			skip[index] = true
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		rs, err := dump(func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, all, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("cannot list routes: %w", err)
		}
		for _, r := range rs {
			// Of every link there are routes to its broadcast, multicast and link-local addresses.
			if r.Dst == nil || skip[r.LinkIndex] || r.Table == unix.RT_TABLE_LOCAL || r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast() {
				continue
			}
			if p, err := netip.ParsePrefix(r.Dst.String()); err == nil && p.Bits() > 0 {
				ps = append(ps, p)
			}
		}
	}
	return ps, nil
}

// EnsureDefault adds those of the default routes that the namespace lacks. Where the
// container has one of its own that stays, and where it has renamed the link it has seen
// to its routes.
func EnsureDefault(ns *os.File, ways []Via) error {
	return inside(ns, func(h *netlink.Handle) error {
		for _, w := range ways {
			link, err := h.LinkByName(w.Link)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				continue
			}
			if err == nil {
				err = addDefault(h, link.Attrs().Index, w.Gateway)
			}
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return err
			}
		}
		return nil
	})
}

// Names returns the names of the links in a namespace.
func Names(ns *os.File) (names []string, err error) {
	err = inside(ns, func(h *netlink.Handle) error {
		links, err := dump(h.LinkList)
		for _, l := range links {
			names = append(names, l.Attrs().Name)
		}
		return err
	})
	return names, err
}
