// Package nft writes tables of nftables by netlink: a batch of changes, or all of it, at once.
package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Batch collects changes that the kernel makes all at once, or none of them:
//
//	var b nft.Batch
//	b.Replace(table)
//	b.Add(table.Name, set, elements...)
//	err := b.Commit()
//
// The zero value is an empty one in the network namespace of the calling thread.
type Batch struct {
	conn  *nftables.Conn
	count int
	err   error
}

// Linger is how long a netfilter socket should stay open after its use. What a batch has
// removed the kernel frees when every processor has been through a quiet point, 5 to 20 ms
// later, and who closes such a socket before, whatever it was for, waits for that while no
// rules can be changed (nft_rcv_nl_event in net/netfilter/nf_tables_api.c).
const Linger = time.Second

// linger keeps the socket of c open beyond its end.
func linger(c *netlink.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		if same, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil { // without one it only takes longer
			time.AfterFunc(Linger, func() { unix.Close(same) })
		}
	})
}

// buffer is what the kernel may queue for us: an answer of about a kilobyte to each of
// many thousand messages, all written before the first of them is read.
const buffer = 64 << 20

func (b *Batch) c(messages int) *nftables.Conn {
	if b.conn == nil {
		b.conn, b.err = nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { // when it is opened, for Commit
			if err := linger(c); err != nil {
				return err
			}
			if b.count < 50 {
				return nil // the usual buffers do, and this is one system call less
			}
			if err := c.SetReadBuffer(buffer); err != nil {
				return err
			}
			return c.SetWriteBuffer(buffer)
		}))
	}
	b.count += messages
	return b.conn
}

func native(table string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: table}
}

// Delete removes a table; one that is not there is no error.
func (b *Batch) Delete(table string) {
	// Adding before deleting makes the deletion succeed whether or not the table exists.
	n := native(table)
	b.c(2).AddTable(n)
	b.conn.DelTable(n)
}

// AddChain adds a chain with its rules.
func (b *Batch) AddChain(table string, c Chain) {
	n := native(table)
	b.addChain(n, c)
	b.addRules(n, c)
}

func (b *Batch) addChain(t *nftables.Table, c Chain) {
	n := &nftables.Chain{Name: c.Name, Table: t}
	if c.Hook != nil {
		n.Type, n.Hooknum, n.Priority = c.Hook.Type, c.Hook.Number, c.Hook.Priority
	}
	b.c(1).AddChain(n)
}

func (b *Batch) addRules(t *nftables.Table, c Chain) {
	for _, r := range c.Rules {
		b.c(2).AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: c.Name, Table: t}, Exprs: r.exprs(), UserData: r.userData()})
	}
}

// Rewrite replaces the rules of a chain that is there.
func (b *Batch) Rewrite(table string, c Chain) {
	n := native(table)
	b.c(1).FlushChain(&nftables.Chain{Name: c.Name, Table: n})
	b.addRules(n, c)
}

// DeleteChain removes a chain that nothing jumps to, with its rules.
func (b *Batch) DeleteChain(table, chain string) {
	c := &nftables.Chain{Name: chain, Table: native(table)}
	b.c(2).FlushChain(c)
	b.conn.DelChain(c)
}

// Add adds elements to a set that is there.
func (b *Batch) Add(table string, s Set, elements ...Element) {
	b.elements(s.native(native(table)), elements, (*nftables.Conn).SetAddElements)
}

// Remove removes elements, each of which must be there.
func (b *Batch) Remove(table string, s Set, elements ...Element) {
	b.elements(s.native(native(table)), elements, (*nftables.Conn).SetDeleteElements)
}

// atOnce elements fit into one attribute, which has 64 KiB.
const atOnce = 256

func (b *Batch) elements(s *nftables.Set, elements []Element, do func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) {
	for len(elements) > 0 {
		n := min(len(elements), atOnce)
		list := make([]nftables.SetElement, n)
		for i, e := range elements[:n] {
			list[i] = e.native()
		}
		b.note(do(b.c(1), s, list))
		elements = elements[n:]
	}
}

func (b *Batch) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Commit makes the changes. The error of a change to what is not there is ENOENT.
func (b *Batch) Commit() error {
	if b.err == nil && b.conn != nil {
		b.err = b.conn.Flush()
	}
	if b.err != nil {
		return fmt.Errorf("cannot write nftables rules: %w", b.err)
	}
	return nil
}
