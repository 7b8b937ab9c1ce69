package runtime

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
	"hoy/linux/idmap"
)

// owner translates the ids of the container into the host's.
type owner struct{ m *idmap.Map } // nil: they are the same

func newOwner(l *specs.Linux, userns *os.File) (owner, error) {
	if userns == nil {
		return owner{}, nil
	}
	o := owner{&idmap.Map{UIDs: idRanges(l.UIDMappings), GIDs: idRanges(l.GIDMappings)}}
	if _, err := o.uid(0); err != nil {
		return o, fault.New(fault.Invalid, "the spec does not map user 0 although the container has a user namespace")
	}
	if _, err := o.gid(0); err != nil {
		return o, fault.New(fault.Invalid, "the spec does not map group 0 although the container has a user namespace")
	}
	return o, nil
}

func idRanges(ms []specs.LinuxIDMapping) []idmap.Range {
	out := make([]idmap.Range, len(ms))
	for i, m := range ms {
		out[i] = idmap.Range{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size}
	}
	return out
}

func (o owner) uid(inside uint32) (int, error) {
	if o.m == nil {
		return int(inside), nil
	}
	if id, ok := o.m.UID(inside); ok {
		return int(id), nil
	}
	return 0, fault.New(fault.Invalid, "user %d does not exist in the container's user namespace", inside)
}

func (o owner) gid(inside uint32) (int, error) {
	if o.m == nil {
		return int(inside), nil
	}
	if id, ok := o.m.GID(inside); ok {
		return int(id), nil
	}
	return 0, fault.New(fault.Invalid, "group %d does not exist in the container's user namespace", inside)
}

// do runs f as the container's root as far as file systems see it.
func (o owner) do(f func() error) error {
	if o.m == nil {
		return f()
	}
	uid, err := o.uid(0)
	if err != nil {
		return err
	}
	gid, err := o.gid(0)
	if err != nil {
		return err
	}
	return idmap.As(uid, gid, f)
}
