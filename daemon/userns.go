package daemon

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// The ids that --userns-remap=default gives: above those that systemd-nspawn and
// useradd give away.
const (
	defaultSubordinate = 0x70000000
	subordinateCount   = 65536
)

// subordinateIDs reads docker's --userns-remap: default, or a user, optionally with
// a group, that has ranges in /etc/subuid and /etc/subgid.
func subordinateIDs(s string) (*idmap.Map, error) {
	if s == "default" {
		r := []idmap.Range{{Inside: 0, Outside: defaultSubordinate, Size: subordinateCount}}
		return &idmap.Map{UIDs: r, GIDs: r}, nil
	}
	name, group, ok := strings.Cut(s, ":")
	if !ok {
		group = name
	}
	uids, err := ranges("/etc/subuid", name, userID(name))
	if err != nil {
		return nil, err
	}
	gids, err := ranges("/etc/subgid", group, groupID(group))
	if err != nil {
		return nil, err
	}
	return &idmap.Map{UIDs: uids, GIDs: gids}, nil
}

func userID(name string) string {
	if u, err := user.Lookup(name); err == nil {
		return u.Uid
	}
	return name
}

func groupID(name string) string {
	if g, err := user.LookupGroup(name); err == nil {
		return g.Gid
	}
	return name
}

// ranges reads subuid(5): name:first:count lines. A range after another continues
// it inside.
func ranges(path, name, id string) ([]idmap.Range, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot find subordinate ids: %w", err)
	}
	defer f.Close()
	var l []idmap.Range
	var inside uint32
	for s := bufio.NewScanner(f); s.Scan(); {
		field := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(field) != 3 || field[0] != name && field[0] != id {
			continue
		}
		first, err1 := strconv.ParseUint(field[1], 10, 32)
		count, err2 := strconv.ParseUint(field[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 {
			return nil, fault.New(fault.Invalid, "cannot read %s: %q", path, s.Text())
		}
		l = append(l, idmap.Range{Inside: inside, Outside: uint32(first), Size: uint32(count)})
		inside += uint32(count)
	}
	if len(l) == 0 {
		return nil, fault.New(fault.Invalid, "no subordinate ids for %q in %s", name, path)
	}
	return l, nil
}
