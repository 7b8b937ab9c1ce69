package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Replace makes the table what t says, whether or not there is one of its name.
//
// Chains and sets that are there already stay, and get new rules and elements. A table
// that is deleted and made in one transaction is not what packets see as one: a set or
// chain of the old table is empty to them from the moment on that the new one holds, and
// one in ten thousand connections finds neither its old way nor its new one. Elements
// that packets have made (Set.Counts) stay too, and those of a set of ranges that has the
// right ones. Whatever else changes in a set of ranges comes somewhat later than the rules:
// see Prepare.
//
// It looks at the table first. If that changes before Commit, the error may be ENOENT,
// EEXIST or EBUSY; nothing is changed then, and another Replace looks again.
func (b *Batch) Replace(t Table) {
	chains, sets := present(t.Name)
	n := native(t.Name)
	if len(chains) == 0 {
		b.Delete(t.Name)
	}
	b.c(1).AddTable(n)
	same := unchanged(t, sets)
	keptChains, keptSets := b.clear(t, chains, sets, same)
	// Chains before what jumps to them: rules and verdict maps.
	for _, c := range t.Chains {
		if !keptChains[c.Name] {
			b.addChain(n, c)
			b.c(1).FlushChain(&nftables.Chain{Name: c.Name, Table: n}) // it was there if we overlooked it
		}
	}
	for _, s := range t.Sets {
		if !keptSets[s.Name] {
			set := s.native(n)
			b.note(b.c(2).AddSet(set, nil))
			b.conn.FlushSet(set)
		}
	}
	for _, s := range t.Sets {
		if !same[s.Name] {
			b.Add(t.Name, s, s.Elements...)
		}
	}
	for _, c := range t.Chains {
		b.addRules(n, c)
	}
}

// Prepare makes the sets of ranges that t has and the table lacks, so that the rules find
// their elements when Replace brings them: the kernel lets packets see the changes to such
// a set when it is through with the transaction, after the new rules. A set of ranges that
// is to have other elements should be another one therefore, of another name. A table that
// is not there is no error; one that goes meanwhile is ENOENT.
func Prepare(t Table) error {
	chains, have := present(t.Name)
	if len(chains) == 0 {
		return nil
	}
	var b Batch
	for _, s := range t.Sets {
		named := func(have *nftables.Set) bool { return have.Name == s.Name }
		if s.Interval && !slices.ContainsFunc(have, named) {
			b.note(b.c(1).AddSet(s.native(native(t.Name)), nil))
			b.Add(t.Name, s, s.Elements...)
		}
	}
	return b.Commit()
}

// unchanged returns the names of the sets of ranges that have the elements that they shall.
func unchanged(t Table, sets []*nftables.Set) map[string]bool {
	same := map[string]bool{}
	for _, s := range t.Sets {
		if !s.Interval || !slices.ContainsFunc(sets, s.is) {
			continue
		}
		have, err := elements(t.Name, s)
		same[s.Name] = err == nil && slices.Equal(sorted(have), sorted(s.Elements))
	}
	return same
}

// sorted are the ends of ranges in an order.
func sorted(elements []Element) (all []string) {
	for _, e := range elements {
		all = append(all, fmt.Sprintf("%x %t", e.Key, e.End))
	}
	slices.Sort(all)
	return all
}

// clear empties what is there, and removes it but for what t has too, by name. Sets that
// have the same elements stay as they are.
func (b *Batch) clear(t Table, chains []*nftables.Chain, sets []*nftables.Set, same map[string]bool) (keptChains, keptSets map[string]bool) {
	keptChains, keptSets = map[string]bool{}, map[string]bool{}
	for _, c := range t.Chains {
		keptChains[c.Name] = slices.ContainsFunc(chains, c.is)
	}
	for _, s := range t.Sets {
		keptSets[s.Name] = slices.ContainsFunc(sets, s.is)
	}
	// Rules and elements first: they hold chains and sets. The elements of a set that goes
	// stay in it, or it would be empty to a packet that is with the rules of before.
	for _, have := range chains {
		b.c(1).FlushChain(have)
	}
	for _, have := range sets {
		if keptSets[have.Name] && !have.Dynamic && !same[have.Name] || !keptSets[have.Name] && have.IsMap {
			b.c(1).FlushSet(have)
		}
	}
	for _, have := range chains {
		if !keptChains[have.Name] {
			b.c(1).DelChain(have)
		}
	}
	for _, have := range sets {
		if !keptSets[have.Name] {
			b.c(1).DelSet(have)
		}
	}
	return keptChains, keptSets
}

// present returns the chains and named sets of a table. What cannot be read, as it goes
// at this moment, is not there. When others change their tables meanwhile, some may be
// missing (NLM_F_DUMP_INTR).
func present(table string) ([]*nftables.Chain, []*nftables.Set) {
	conn, err := nftables.New(nftables.WithSockOptions(linger))
	if err != nil {
		return nil, nil
	}
	all, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, nil
	}
	chains := slices.DeleteFunc(all, func(c *nftables.Chain) bool { return c.Table.Name != table })
	if len(chains) == 0 {
		return nil, nil
	}
	sets, err := conn.GetSets(native(table))
	if err != nil {
		return nil, nil
	}
	return chains, slices.DeleteFunc(sets, func(s *nftables.Set) bool { return s.Anonymous })
}

// is tells whether a chain that is there can take the rules of c.
func (c Chain) is(have *nftables.Chain) bool {
	switch {
	case have.Name != c.Name || (have.Hooknum != nil) != (c.Hook != nil):
		return false
	case c.Hook == nil:
		return true
	}
	if have.Policy != nil && *have.Policy != nftables.ChainPolicyAccept { // somebody has given it one
		return false
	}
	return have.Type == c.Hook.Type && *have.Hooknum == *c.Hook.Number && *have.Priority == *c.Hook.Priority
}

// is tells whether a set that is there can take the elements of s. It keeps its comment.
func (s Set) is(have *nftables.Set) bool {
	want := s.native(have.Table)
	if have.Name != want.Name || have.IsMap != want.IsMap || have.Interval != want.Interval || have.Dynamic != want.Dynamic || have.Timeout != want.Timeout {
		return false
	}
	if want.DataType.Name == Verdicts.Name {
		return have.KeyType.Name == Verdicts.Name // where GetSets of the library puts it
	}
	return have.KeyType.GetNFTMagic() == want.KeyType.GetNFTMagic() && have.DataType.GetNFTMagic() == want.DataType.GetNFTMagic()
}
