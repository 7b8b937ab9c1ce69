package network

import (
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"hoy/linux/netlink"
)

// resolver is the pair of sockets of a container's name server.
type resolver struct{ udp, tcp *os.File }

func (r *resolver) close() {
	if r != nil {
		r.udp.Close()
		r.tcp.Close()
	}
}

// openResolver opens the sockets that answer at 127.0.0.11:53 in the namespace. They are
// bound to other ports, which the kernel chooses: a name server that the container runs
// itself shall find port 53 free at every address. Two rules for each rewrite the port on
// the way there and back, which needs no tracking of connections:
//
//	table ip hoy {
//	  chain output { type filter hook output priority raw
//	    ip daddr 127.0.0.11 udp dport 53 udp dport set PORT
//	    ip saddr 127.0.0.11 udp sport PORT udp sport set 53
//	    … the same for tcp
//	  }
//	}
func openResolver(ns *os.File) (*resolver, error) {
	var r resolver
	err := netlink.In(ns, func() (err error) {
		var udp, tcp uint16
		if r.udp, udp, err = resolverSocket(unix.SOCK_DGRAM); err != nil {
			return err
		}
		if r.tcp, tcp, err = resolverSocket(unix.SOCK_STREAM); err != nil {
			return err
		}
		return resolverRules(udp, tcp)
	})
	if err != nil {
		r.close()
		return nil, fmt.Errorf("cannot open the container's resolver: %w", err)
	}
	return &r, nil
}

func resolverSocket(kind int) (*os.File, uint16, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: Resolver.As4()})
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.Listen(fd, 128)
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, 0, fmt.Errorf("bind: %w", err)
	}
	return os.NewFile(uintptr(fd), "resolver"), uint16(name.(*unix.SockaddrInet4).Port), nil
}

// resolverRules replaces the table of the caller's network namespace.
func resolverRules(udp, tcp uint16) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot open nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "hoy"}
	c.AddTable(t) // so that there is one to remove
	c.DelTable(t)
	c.AddTable(t)
	chain := c.AddChain(&nftables.Chain{Name: "output", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw})
	for _, p := range []struct {
		proto byte
		port  uint16
	}{{unix.IPPROTO_UDP, udp}, {unix.IPPROTO_TCP, tcp}} {
		const source, destination = 0, 1
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rewrite(p.proto, destination, 53, p.port)})
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rewrite(p.proto, source, p.port, 53)})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot write nftables rules: %w", err)
	}
	return nil
}

// rewrite gives packets of the resolver's address with port from the port to. side is 0
// for the source's address and port and 1 for the destination's.
func rewrite(proto byte, side uint32, from, to uint16) []expr.Any {
	checksum := map[byte]uint32{unix.IPPROTO_UDP: 6, unix.IPPROTO_TCP: 16}[proto]
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12 + 4*side, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: Resolver.AsSlice()},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2 * side, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(from)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(to)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader,
			Offset: 2 * side, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
	}
}
