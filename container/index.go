package container

import (
	"slices"
	"strings"
	"sync"

	"hoy/lib/fault"
)

// index finds containers by id, name and id prefix. A name is reserved before its
// container exists, so that of several creators exactly one gets it.
type index struct {
	mu     sync.RWMutex
	byID   map[string]*Container
	byName map[string]string // to the id, also of a container that is being made
	sorted []string          // ids of byID in order, for prefixes
	execs  map[string]*exec
}

func newIndex() *index {
	return &index{byID: map[string]*Container{}, byName: map[string]string{}, execs: map[string]*exec{}}
}

// reserve gives name to id, or says who has it.
func (x *index) reserve(name, id string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if owner, taken := x.byName[name]; taken && owner != id {
		return fault.New(fault.Conflict, `Conflict. The container name "/%s" is already in use by container "%s". You have to remove (or rename) that container to be able to reuse that name.`, name, owner)
	}
	x.byName[name] = id
	return nil
}

// reserveRandom gives id a name nobody has.
func (x *index) reserveRandom(id string) string {
	for try := 0; ; try++ {
		if n := randomName(try); x.reserve(n, id) == nil {
			return n
		}
	}
}

// release gives name back if it is id's.
func (x *index) release(name, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byName[name] == id {
		delete(x.byName, name)
	}
}

func (x *index) add(c *Container) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byID[c.id] = c
	i, _ := slices.BinarySearch(x.sorted, c.id)
	x.sorted = slices.Insert(x.sorted, i, c.id)
}

// remove forgets the container, its name and its execs, whose ids it returns.
func (x *index) remove(c *Container) (execs []string) {
	name := c.rec().Name
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.byID, c.id)
	if i, ok := slices.BinarySearch(x.sorted, c.id); ok {
		x.sorted = slices.Delete(x.sorted, i, i+1)
	}
	if x.byName[name] == c.id {
		delete(x.byName, name)
	}
	for id, e := range x.execs {
		if e.container == c {
			delete(x.execs, id)
			execs = append(execs, id)
		}
	}
	return execs
}

// get finds a container by id, name (with or without slash), link (PARENT/ALIAS), or
// unique id prefix, in this order, as docker does.
func (x *index) get(ref string) (*Container, error) {
	if ref == "" {
		return nil, fault.New(fault.Invalid, "invalid container name or ID: value is empty")
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if c := x.byID[ref]; c != nil {
		return c, nil
	}
	name := strings.TrimPrefix(ref, "/")
	if c := x.byID[x.byName[name]]; c != nil {
		return c, nil
	}
	if parent, alias, is := strings.Cut(name, "/"); is {
		if c := x.linked(x.byID[x.byName[parent]], alias); c != nil {
			return c, nil
		}
	}
	i, _ := slices.BinarySearch(x.sorted, ref)
	if i == len(x.sorted) || !strings.HasPrefix(x.sorted[i], ref) {
		return nil, fault.New(fault.NotFound, "No such container: %s", ref)
	}
	if i+1 < len(x.sorted) && strings.HasPrefix(x.sorted[i+1], ref) {
		return nil, fault.New(fault.Invalid, "multiple IDs found with provided prefix: %s", ref)
	}
	return x.byID[x.sorted[i]], nil
}

// linked returns the container that parent is linked to by an alias, or nil. mu is held.
func (x *index) linked(parent *Container, alias string) *Container {
	if parent == nil {
		return nil
	}
	for _, l := range parent.rec().pinnedLinks() {
		if id, a := splitLink(l); a == alias {
			return x.byID[id]
		}
	}
	return nil
}

// all returns every container, in no order.
func (x *index) all() []*Container {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l := make([]*Container, 0, len(x.byID))
	for _, c := range x.byID {
		l = append(l, c)
	}
	return l
}

// gone reports whether k has been removed.
func (x *index) gone(k *Container) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byID[k.id] != k
}

func (x *index) addExec(e *exec) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.execs[e.id] = e
}

func (x *index) removeExec(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.execs, id)
}

func (x *index) exec(id string) (*exec, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if e := x.execs[id]; e != nil {
		return e, nil
	}
	return nil, fault.New(fault.NotFound, "No such exec instance: %s", id)
}

// execsOf returns the execs of a container that have not ended, sorted.
func (x *index) execsOf(c *Container) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var l []string
	for id, e := range x.execs {
		if e.container == c && !e.ended() {
			l = append(l, id)
		}
	}
	slices.Sort(l)
	return l
}
