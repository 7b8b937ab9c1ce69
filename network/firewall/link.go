package firewall

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// prepare sets what the rules of a network expect of its link, which must be there.
func prepare(n Network) error {
	if n.Subnet.IsValid() && !n.Internal && translated(n.Mode) {
		// Connections of the host to 127.0.0.1 are sent to a container, and its answers
		// come back, only by links that the kernel lets that address pass. The chain
		// "guard" holds back what else could come by it.
		path := "/proc/sys/net/ipv4/conf/" + n.Link + "/route_localnet"
		if err := os.WriteFile(path, []byte("1"), 0); err != nil {
			return fmt.Errorf("cannot let published ports answer at 127.0.0.1: %w", err)
		}
	}
	if n.NoICC {
		return filterBridged(n.Link)
	}
	return nil
}

// gone tells of a link that somebody has deleted.
func gone(link string) bool {
	_, err := netlink.LinkByName(link)
	return errors.As(err, &netlink.LinkNotFoundError{})
}

// Attributes of a bridge (linux/if_link.h): whether what it switches meets the rules for
// IPv4 and IPv6.
const (
	nfCallIPTables  = 36 // IFLA_BR_NF_CALL_IPTABLES
	nfCallIP6Tables = 37 // IFLA_BR_NF_CALL_IP6TABLES
)

// filterBridged makes what a bridge switches between its ports meet the forward hook.
// This is for one bridge: the sysctl of the same name is for all of the host's.
func filterBridged(link string) error {
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		return fault.New(fault.Unavailable, "cannot keep the containers of one network apart: the kernel's module br_netfilter is not loaded (modprobe br_netfilter)")
	}
	l, err := netlink.LinkByName(link)
	if err != nil {
		return fmt.Errorf("cannot find link %s: %w", link, err)
	}
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(l.Attrs().Index)
	r.AddData(m)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nfCallIPTables, []byte{1})
	data.AddRtAttr(nfCallIP6Tables, []byte{1})
	r.AddData(info)
	if _, err := r.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("cannot have the packets of bridge %s filtered: %w", link, err)
	}
	return nil
}
