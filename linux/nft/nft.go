// Package nft writes the firewall rules of a bridge network by netlink: what leaves
// it is masqueraded, what nobody in it asked for does not come in.
package nft

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Network is what the rules need to know of a bridge network.
type Network struct {
	Bridge     string       // name of the link, also in the name of the table
	Subnet     netip.Prefix // IPv4
	Masquerade bool         // give what leaves the subnet the host's address
}

// tableOf returns the name of the table that holds the rules of a bridge. Each
// bridge has its own, so that several engines never touch each other's rules.
func tableOf(bridge string) string { return "hoy-" + bridge }

// Apply replaces the rules of n in one transaction:
//
//	table ip hoy-BRIDGE {
//	  chain postrouting { type nat hook postrouting priority srcnat
//	    ip saddr SUBNET oifname != BRIDGE masquerade }
//	  chain forward { type filter hook forward priority filter
//	    oifname BRIDGE ct state established,related accept
//	    oifname BRIDGE iifname != BRIDGE drop }
//	}
func Apply(n Network) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot open nftables: %w", err)
	}
	// Adding before deleting makes the deletion succeed whether or not the table exists.
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableOf(n.Bridge)}
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	if n.Masquerade {
		nat := c.AddChain(&nftables.Chain{Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		c.AddRule(&nftables.Rule{Table: t, Chain: nat, Exprs: joinOld(sourceOld(n.Subnet), link(expr.MetaKeyOIFNAME, expr.CmpOpNeq, n.Bridge), []expr.Any{&expr.Masq{}})})
	}
	forward := c.AddChain(&nftables.Chain{Name: "forward", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	in := link(expr.MetaKeyOIFNAME, expr.CmpOpEq, n.Bridge)
	c.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: joinOld(in, established(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})})
	c.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: joinOld(in, link(expr.MetaKeyIIFNAME, expr.CmpOpNeq, n.Bridge), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot write nftables table %s: %w", t.Name, err)
	}
	return nil
}

// Remove deletes the table of a bridge; one that is not there is no error.
func Remove(bridge string) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot open nftables: %w", err)
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableOf(bridge)})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot remove nftables table %s: %w", tableOf(bridge), err)
	}
	return nil
}

func joinOld(parts ...[]expr.Any) []expr.Any {
	var es []expr.Any
	for _, p := range parts {
		es = append(es, p...)
	}
	return es
}

// link matches the name of the link a packet comes from or goes to.
func link(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: padded}}
}

// sourceOld matches packets from the subnet (bytes 12-15 of the IPv4 header).
func sourceOld(p netip.Prefix) []expr.Any {
	mask := make([]byte, 4)
	for i := range p.Bits() {
		mask[i/8] |= 1 << (7 - i%8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func established() []expr.Any {
	bits := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}
