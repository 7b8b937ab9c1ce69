package spec

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"hoy/linux/idmap"
)

// IDMap is the option idmap of a bind or a volume, as podman has it: whose the files of
// the source appear to be where they are mounted, and the other way round whose what is
// written there becomes.
//
//	idmap                               by the container's user namespace
//	idmap=uids=1000-0-1;gids=1000-0-1   1000 on disk is 0 of the host
//	idmap=uids=@1000-0-1#@1-1-999       1000 on disk is 0 in the container, 1 to 999 are themselves
//
// Ids that are not mapped appear as 65534, and nothing of theirs can be made. Docker's
// API has no field for it: it is a part of a bind's mode, and in a mount it stands in the
// field Consistency, which says nothing on Linux.
type IDMap struct {
	uids, gids []idRange // nil: by the container's user namespace
}

// idRange is one of podman's triplets.
type idRange struct {
	idmap.Range
	inContainer bool // Outside is an id of the container, not of the host
}

// maxRanges is how many ranges the kernel takes (user_namespaces(7)).
const maxRanges = 340

const idMapExample = "write idmap, or idmap=uids=1000-0-1;gids=1000-0-1: id on disk, id it appears as (with @ before the triplet: in the container), how many"

// isIDMap tells whether a part of a mode, or a consistency, is the option idmap.
func isIDMap(s string) bool { return s == "idmap" || strings.HasPrefix(s, "idmap=") }

// ParseIDMap reads the option; nil for "" and other consistencies.
func ParseIDMap(s string) (*IDMap, error) {
	if !isIDMap(s) {
		return nil, nil
	}
	m := &IDMap{}
	if s == "idmap" {
		return m, nil
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "idmap="), ";") {
		kind, list, _ := strings.Cut(part, "=")
		to := map[string]*[]idRange{"uids": &m.uids, "gids": &m.gids}[kind]
		if to == nil || *to != nil {
			return nil, invalid("invalid option %q: %s", s, idMapExample)
		}
		for t := range strings.SplitSeq(list, "#") {
			r, ok := parseRange(t)
			if !ok || len(*to) == maxRanges {
				return nil, invalid("invalid option %q: %q: %s", s, t, idMapExample)
			}
			if slices.ContainsFunc(*to, r.overlaps) {
				return nil, invalid("invalid option %q: %q maps an id a second time", s, t)
			}
			*to = append(*to, r)
		}
	}
	return m, nil
}

func parseRange(s string) (r idRange, ok bool) {
	s, r.inContainer = strings.CutPrefix(s, "@")
	f := strings.Split(s, "-")
	if len(f) != 3 {
		return r, false
	}
	for i, to := range []*uint32{&r.Inside, &r.Outside, &r.Size} {
		n, err := strconv.ParseUint(f[i], 10, 32)
		if err != nil {
			return r, false
		}
		*to = uint32(n)
	}
	// The last id, -1, is nobody's.
	return r, r.Size > 0 && r.Size <= math.MaxUint32-max(r.Inside, r.Outside)
}

func (r idRange) overlaps(o idRange) bool {
	return r.Inside < o.Inside+o.Size && o.Inside < r.Inside+r.Size ||
		r.inContainer == o.inContainer && r.Outside < o.Outside+o.Size && o.Outside < r.Outside+r.Size
}

// Map is the map for a container with a user namespace, nil for one without. It is nil
// when all ids are to appear as they are.
func (m *IDMap) Map(user *idmap.Map) (*idmap.Map, error) {
	if m.uids == nil && m.gids == nil {
		return user, nil
	}
	all := []idmap.Range{{Size: math.MaxUint32}}
	if user == nil {
		user = &idmap.Map{UIDs: all, GIDs: all}
	}
	var out idmap.Map
	var err error
	if out.UIDs, err = onHost(m.uids, user.UIDs); err != nil {
		return nil, err
	}
	out.GIDs, err = onHost(m.gids, user.GIDs)
	return &out, err
}

// onHost turns ids of the container into those of the host. What spans several ranges of
// its namespace is split.
func onHost(own []idRange, user []idmap.Range) (out []idmap.Range, err error) {
	if own == nil {
		return user, nil
	}
	for _, r := range own {
		if !r.inContainer {
			out = append(out, r.Range)
			continue
		}
		left := r.Size
		for _, u := range user {
			from, to := max(r.Outside, u.Inside), min(r.Outside+r.Size, u.Inside+u.Size)
			if from < to {
				out = append(out, idmap.Range{Inside: r.Inside + (from - r.Outside), Outside: u.Outside + (from - u.Inside), Size: to - from})
				left -= to - from
			}
		}
		if left > 0 {
			return nil, invalid("idmap: the container's user namespace lacks %d of the ids %d to %d", left, r.Outside, r.Outside+r.Size-1)
		}
	}
	return out, nil
}
