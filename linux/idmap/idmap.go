// Package idmap makes user namespaces with given id maps and keeps them by descriptor.
package idmap

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Map is how the ids inside a user namespace relate to those outside.
type Map struct{ UIDs, GIDs []Range }

// Range maps Size ids: Inside to Outside, Inside+1 to Outside+1, ….
type Range struct{ Inside, Outside, Size uint32 }

// UID returns what a user id inside is outside; not ok when it is not mapped.
func (m *Map) UID(inside uint32) (uid uint32, ok bool) { return outside(m.UIDs, inside) }

// GID is UID for group ids.
func (m *Map) GID(inside uint32) (gid uint32, ok bool) { return outside(m.GIDs, inside) }

// Inside is UID and GID the other way round, for what stat(2) says outside. Ids that
// are not mapped stay as they are.
func (m *Map) Inside(uid, gid uint32) (insideUID, insideGID uint32) {
	return inside(m.UIDs, uid), inside(m.GIDs, gid)
}

func inside(ranges []Range, id uint32) uint32 {
	for _, r := range ranges {
		if id >= r.Outside && id-r.Outside < r.Size {
			return r.Inside + (id - r.Outside)
		}
	}
	return id
}

func outside(ranges []Range, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if id >= r.Inside && id-r.Inside < r.Size {
			return r.Outside + (id - r.Inside), true
		}
	}
	return 0, false
}

// New makes a user namespace with the map m. It exists as long as the descriptor or
// something else refers to it. It belongs to the caller's user namespace.
func New(m *Map) (*os.File, error) {
	user, _, err := create(m, syscall.CLONE_NEWUSER)
	return user, err
}

// NewPair makes a user namespace and a network namespace that belongs to it.
func NewPair(m *Map) (user, net *os.File, err error) {
	return create(m, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
}

// create clones a process into the new namespaces and opens them through it. The
// process is this program itself, stopped by ptrace before its first instruction, so
// no other program is needed and nothing of it ever runs.
func create(m *Map, flags uintptr) (user, net *os.File, err error) {
	if len(m.UIDs) == 0 || len(m.GIDs) == 0 {
		return nil, nil, fault.New(fault.Invalid, "cannot make user namespace: empty id map")
	}
	runtime.LockOSThread() // the tracer is a thread; its end would kill the child early
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"user-namespace"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Cloneflags:                 flags,
			UidMappings:                ranges(m.UIDs),
			GidMappings:                ranges(m.GIDs),
			GidMappingsEnableSetgroups: true,
			Ptrace:                     true,
			Pdeathsig:                  syscall.SIGKILL,
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make user namespace: clone: %w", err)
	}
	defer func() {
		p.Kill()
		p.Wait()
	}()
	if user, err = pin(p.Pid, "user"); err != nil {
		return nil, nil, err
	}
	if flags&syscall.CLONE_NEWNET == 0 {
		return user, nil, nil
	}
	if net, err = pin(p.Pid, "net"); err != nil {
		user.Close()
		return nil, nil, err
	}
	return user, net, nil
}

func pin(pid int, kind string) (*os.File, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/ns/" + kind
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot keep the new %s namespace: %w", kind, err)
	}
	return f, nil
}

func ranges(rs []Range) []syscall.SysProcIDMap {
	out := make([]syscall.SysProcIDMap, len(rs))
	for i, r := range rs {
		out[i] = syscall.SysProcIDMap{ContainerID: int(r.Inside), HostID: int(r.Outside), Size: int(r.Size)}
	}
	return out
}
