package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Elements returns what sets of a table have now, by their names, without verdicts and
// comments: of those that are there and of the kind.
func Elements(table string, sets ...Set) (map[string][]Element, error) {
	_, have := present(table)
	all := map[string][]Element{}
	for _, s := range sets {
		if !slices.ContainsFunc(have, s.is) {
			continue
		}
		list, err := elements(table, s)
		if err != nil {
			return nil, err
		}
		all[s.Name] = list
	}
	return all, nil
}

// elements reads a set that is there.
func elements(table string, s Set) (all []Element, err error) {
	c, err := nftables.New(nftables.WithSockOptions(linger))
	if err != nil {
		return nil, fmt.Errorf("cannot open nftables: %w", err)
	}
	list, err := c.GetSetElements(s.native(native(table)))
	if err != nil {
		return nil, fmt.Errorf("cannot read set %s of table %s: %w", s.Name, table, err)
	}
	for _, e := range list {
		all = append(all, Element{Key: e.Key, Value: e.Val, End: e.IntervalEnd})
	}
	return all, nil
}
