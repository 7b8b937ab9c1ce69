// Package names answers DNS queries of containers: names of their networks from memory,
// others by asking the servers that the container or the host has.
package names

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Entry is a container's place among the names of a network.
type Entry struct {
	Container string       `json:"container"` // id
	Names     []string     `json:"names"`     // first the one that reverse look-ups give
	Addresses []netip.Addr `json:"addresses"` // IPv4 and IPv6
}

// Tables are the names of all networks: one table of each, which the resolvers of all its
// containers share. The zero value is empty.
type Tables struct {
	mu       sync.RWMutex
	networks map[string]*table
}

// table is what is known of one network. Names are in lower case.
type table struct {
	entries map[string]*Entry // by container
	names   map[string][]*Entry
	reverse map[netip.Addr]*Entry
}

// Set changes the names of a network: containers in remove lose theirs, those in set get
// these instead of what they had; with replace all others lose theirs too.
func (t *Tables) Set(network string, replace bool, set []Entry, remove []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.networks[network]
	if n == nil || replace {
		n = &table{map[string]*Entry{}, map[string][]*Entry{}, map[netip.Addr]*Entry{}}
		if t.networks == nil {
			t.networks = map[string]*table{}
		}
		t.networks[network] = n
	}
	for _, id := range remove {
		n.remove(id)
	}
	for _, e := range set {
		n.remove(e.Container)
		n.add(e)
	}
	if len(n.entries) == 0 {
		delete(t.networks, network)
	}
}

// Drop forgets a network.
func (t *Tables) Drop(network string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.networks, network)
}

// All returns the names of every network, for a program that takes over.
func (t *Tables) All() map[string][]Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := map[string][]Entry{}
	for id, n := range t.networks {
		for _, c := range slices.Sorted(maps.Keys(n.entries)) {
			all[id] = append(all[id], *n.entries[c])
		}
	}
	return all
}

func (n *table) add(e Entry) {
	e.Names, e.Addresses = slices.Clone(e.Names), slices.Clone(e.Addresses)
	for i, name := range e.Names {
		e.Names[i] = canonical(name)
	}
	for i, a := range e.Addresses {
		e.Addresses[i] = a.Unmap()
	}
	n.entries[e.Container] = &e
	for i, name := range e.Names {
		if !slices.Contains(e.Names[:i], name) {
			n.names[name] = append(n.names[name], &e)
		}
	}
	for _, a := range e.Addresses {
		n.reverse[a] = &e
	}
}

func (n *table) remove(container string) {
	e := n.entries[container]
	if e == nil {
		return
	}
	delete(n.entries, container)
	for _, name := range e.Names {
		left := slices.DeleteFunc(n.names[name], func(o *Entry) bool { return o == e })
		if n.names[name] = left; len(left) == 0 {
			delete(n.names, name)
		}
	}
	for _, a := range e.Addresses {
		if n.reverse[a] == e {
			delete(n.reverse, a)
		}
	}
}

// canonical is how a name is looked up: names are the same whatever their case (RFC 4343).
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
