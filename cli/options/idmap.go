package options

import (
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/mount"
)

func isIDMap(o string) bool { return o == "idmap" || strings.HasPrefix(o, "idmap=") }

// idMapOf says among the options of a mount what idmap alone means of somebody who is not
// root: the container's root and the caller are the same, so that what the container
// makes is the caller's. What is root's on disk is nobody's in the container, all else
// keeps its owner.
func (e Env) idMapOf(options string) string {
	o := strings.Split(options, ",")
	for i := range o {
		if o[i] == "idmap" && (e.UID != 0 || e.GID != 0) {
			o[i] = "idmap=uids=" + swap(e.UID) + ";gids=" + swap(e.GID)
		}
	}
	return strings.Join(o, ",")
}

// swap maps id to 0, and those around to themselves; ids beyond 65535 a container's user
// namespace may lack.
func swap(id int) string {
	const last = 65535
	if id == 0 {
		return fmt.Sprintf("@0-0-%d", last+1)
	}
	s := fmt.Sprintf("@%d-0-1", id)
	if below := min(id-1, last); below > 0 {
		s += fmt.Sprintf("#@1-1-%d", below)
	}
	if id < last {
		s += fmt.Sprintf("#@%d-%d-%d", id+1, id+1, last-id)
	}
	return s
}

// mapped are the mounts of --mount, with what idmap means there. Docker's API has no
// field for it: Consistency, which says nothing on Linux, carries it.
func (e Env) mapped(list []mount.Mount) []mount.Mount {
	for i := range list {
		list[i].Consistency = mount.Consistency(e.idMapOf(string(list[i].Consistency)))
	}
	return list
}
