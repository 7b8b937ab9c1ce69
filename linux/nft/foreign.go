package nft

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// Foreign is a chain of another program's.
type Foreign struct {
	Family       string // as nft(8) writes it: ip, ip6 or inet
	Table, Chain string
}

func (f Foreign) String() string { return f.Family + " " + f.Table + " " + f.Chain }

var families = map[string]nftables.TableFamily{"ip": nftables.TableFamilyIPv4, "ip6": nftables.TableFamilyIPv6, "inet": nftables.TableFamilyINet}

func (f Foreign) native() *nftables.Chain {
	return &nftables.Chain{Name: f.Chain, Table: &nftables.Table{Name: f.Table, Family: families[f.Family]}}
}

// Dropping returns the base chains at hooks input and forward whose policy is to drop.
func Dropping() (input, forward []Foreign, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the nftables rules: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the nftables rules: %w", err)
	}
	for _, ch := range chains {
		if ch.Hooknum == nil || ch.Policy == nil || *ch.Policy != nftables.ChainPolicyDrop || ch.Type != nftables.ChainTypeFilter {
			continue
		}
		for name, family := range families {
			switch {
			case family != ch.Table.Family:
			case *ch.Hooknum == *nftables.ChainHookInput:
				input = append(input, Foreign{name, ch.Table.Name, ch.Name})
			case *ch.Hooknum == *nftables.ChainHookForward:
				forward = append(forward, Foreign{name, ch.Table.Name, ch.Name})
			}
		}
	}
	return input, forward, nil
}

// ExistsChain says whether a chain is there.
func ExistsChain(f Foreign) bool {
	c, err := nftables.New()
	if err != nil {
		return false
	}
	ch, err := c.ListChain(f.native().Table, f.Chain)
	return err == nil && ch != nil
}

// Pass puts a rule first in another program's chain that accepts packets with the bits
// of the mark, in the place of one of this comment for other bits; a chain that is not
// there is no error. A chain of iptables gets the rule in the form that iptables can list.
func Pass(f Foreign, bits uint32, comment string) error {
	rules, c, err := commented(f, comment)
	if err != nil || !ExistsChain(f) {
		return err
	}
	for _, r := range rules {
		if accepts(r, bits) {
			return nil
		}
		if err := c.DelRule(r); err != nil {
			return fmt.Errorf("cannot replace a rule of chain %s: %w", f, err)
		}
	}
	rule := &nftables.Rule{Table: f.native().Table, Chain: f.native(), UserData: userdata.AppendString(nil, userdata.TypeComment, comment)}
	if f.Family == "inet" {
		rule.Exprs = NewRule("", Marked(bits), Accept()).exprs()
	} else {
		// struct xt_mark_mtinfo1 {mark, mask uint32; invert uint8}, padded to 8 bytes.
		info := xt.Unknown(append(append(binaryutil.NativeEndian.PutUint32(bits), binaryutil.NativeEndian.PutUint32(bits)...), 0, 0, 0, 0))
		rule.Exprs = []expr.Any{&expr.Match{Name: "mark", Rev: 1, Info: &info}, &expr.Counter{}, &Verdict{Kind: expr.VerdictAccept}}
	}
	c.InsertRule(rule)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot add a rule to chain %s: %w", f, err)
	}
	return nil
}

// accepts tells whether a rule of Pass is for these bits.
func accepts(r *nftables.Rule, bits uint32) bool {
	mask := binaryutil.NativeEndian.PutUint32(bits)
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Bitwise:
			return bytes.Equal(e.Mask, mask)
		case *expr.Match:
			info, ok := e.Info.(*xt.Unknown)
			return ok && bytes.HasPrefix(*info, mask)
		}
	}
	return false
}

// Unpass takes the rules of a comment out of another program's chain; none is no error.
func Unpass(f Foreign, comment string) error {
	rules, c, err := commented(f, comment)
	if err != nil || len(rules) == 0 {
		return err
	}
	for _, r := range rules {
		if err := c.DelRule(r); err != nil {
			return fmt.Errorf("cannot remove a rule from chain %s: %w", f, err)
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot remove a rule from chain %s: %w", f, err)
	}
	return nil
}

// commented returns the rules of a comment in a chain.
func commented(f Foreign, comment string) ([]*nftables.Rule, *nftables.Conn, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the nftables rules: %w", err)
	}
	if !ExistsChain(f) {
		return nil, c, nil
	}
	all, err := c.GetRules(f.native().Table, f.native())
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, c, nil
		}
		return nil, nil, fmt.Errorf("cannot read chain %s: %w", f, err)
	}
	var found []*nftables.Rule
	for _, r := range all {
		if s, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok && s == comment {
			found = append(found, r)
		}
	}
	return found, c, nil
}
