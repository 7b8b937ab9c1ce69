package runtime

import (
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// namespaces are those of a container: new ones, and others it joins.
type namespaces struct {
	create uint64 // CLONE_NEW*, the cgroup namespace too
	join   []joined
	pid    *os.File // PID namespace to be born into
}

type joined struct {
	kind specs.LinuxNamespaceType
	flag uint64
	f    *os.File
}

// namespaceFlags orders joining: whatever belongs to the user namespace comes after it.
var namespaceFlags = map[specs.LinuxNamespaceType]uint64{
	specs.PIDNamespace:     unix.CLONE_NEWPID,
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.MountNamespace:   unix.CLONE_NEWNS,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
	specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
	specs.UserNamespace:    unix.CLONE_NEWUSER,
}

// openNamespaces reads the spec's list and opens what is joined. A user namespace
// that the spec names by path takes the place of the pooled one.
func (b *builder) openNamespaces() (namespaces, error) {
	var ns namespaces
	for _, n := range b.spec.Linux.Namespaces {
		flag := namespaceFlags[n.Type]
		switch {
		case flag == 0:
			return ns, fault.New(fault.NotImplemented, "namespaces of type %q are not supported", n.Type)
		case n.Type == specs.NetworkNamespace && b.c.NetNS != nil:
		case n.Type == specs.UserNamespace && b.c.UserNS != nil:
		case n.Type == specs.UserNamespace && n.Path == "":
			return ns, fault.New(fault.Invalid, "a new user namespace must be given by descriptor")
		case n.Path == "":
			ns.create |= flag
		default:
			f, err := os.Open(n.Path)
			if err != nil {
				return ns, fmt.Errorf("cannot join %s namespace: %w", n.Type, err)
			}
			b.keep(f)
			switch n.Type {
			case specs.UserNamespace:
				b.c.UserNS = f
			case specs.PIDNamespace:
				ns.pid = f
			default:
				ns.join = append(ns.join, joined{n.Type, flag, f})
			}
		}
	}
	if b.c.NetNS != nil {
		ns.join = append(ns.join, joined{specs.NetworkNamespace, unix.CLONE_NEWNET, b.c.NetNS})
	}
	if ns.create&unix.CLONE_NEWNS == 0 {
		return ns, fault.New(fault.Invalid, "a container needs a mount namespace of its own")
	}
	return ns, nil
}

// hostNetwork reports whether the network namespace is one that the container's user
// namespace does not own.
func (b *builder) hostNetwork() bool {
	if b.c.NetNS != nil || b.ns.create&unix.CLONE_NEWNET != 0 {
		return false
	}
	for _, j := range b.ns.join {
		if j.flag == unix.CLONE_NEWNET {
			return false
		}
	}
	return true
}

// has reports whether the container has its own namespace of the given kind, new or joined.
func (ns *namespaces) has(flag uint64) bool {
	if ns.create&flag != 0 {
		return true
	}
	for _, j := range ns.join {
		if j.flag == flag {
			return true
		}
	}
	return false
}
