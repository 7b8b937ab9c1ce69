package netlink

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is the cause where the kernel lacks a kind of link.
var ErrUnsupported = errors.New("this kernel lacks this kind of link")

// Supports tells whether the kernel has a kind of link. It asks for one that cannot be:
// a kernel without the kind says that first, and one with it loads its module.
func Supports(k Kind) bool {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(string(k)))
	req.AddData(info) // without the link that it shares
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return !errors.Is(err, unix.EOPNOTSUPP)
}

// AddDummy makes a link behind which nothing is, up, and returns its index.
func AddDummy(name string) (int, error) {
	return addUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name, TxQLen: -1}})
}

// AddVLAN makes the VLAN id of the link with index parent, up, and returns its index.
func AddVLAN(name string, parent int, id uint16) (int, error) {
	return addUp(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: parent, TxQLen: -1}, VlanId: int(id)})
}

func addUp(l netlink.Link) (int, error) {
	name := l.Attrs().Name
	err := netlink.LinkAdd(l)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return 0, fmt.Errorf("cannot add link %s: %w", name, ErrUnsupported)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot add link %s: %w", name, err)
	}
	made, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(made)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("cannot bring %s up: %w", name, err), DelLink(name))
	}
	return made.Attrs().Index, nil
}
