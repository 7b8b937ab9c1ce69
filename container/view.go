package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/lib/fault"
	"hoy/linux/idmap"
	"hoy/linux/mount"
)

// A view is a container's files for others than its processes: for cp and export.
// It shows the root file system with volumes and binds, and not what the container
// mounts itself: whoever controls the container could let us hang there. Everything
// below goes by descriptor from its root, since what is a directory now may be a link
// in a moment (CVE-2018-15664), and nothing of the container is executed or loaded
// (CVE-2019-14271).
type view struct {
	base, tree *os.File   // the root file system alone, and with what is mounted in it
	ids        *idmap.Map // by which both show owners; nil: as they are
	mounts     []mountPoint
	readOnly   bool // the root file system
	closed     func()

	ctx    context.Context // ends when the container needs its files for itself
	cancel context.CancelFunc
	users  int
}

// views are the views of one container: one at a time, shared, because a kernel does
// not bear two overlay mounts of one writable layer. A start waits for its end.
type views struct {
	mu   sync.Mutex
	now  *view
	idle chan struct{} // closed when now is gone
}

// join returns the view that is open, or nil.
func (s *views) join() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.ctx.Err() != nil {
		return nil
	}
	s.now.users++
	return s.now
}

func (s *views) open(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.users, s.now, s.idle = 1, v, make(chan struct{})
}

func (s *views) leave(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.users--; v.users > 0 {
		return
	}
	v.close()
	s.now = nil
	close(s.idle)
}

// end waits until no view is open: for a moment for work to be done, then it breaks
// that off.
func (s *views) end(ctx context.Context, moment time.Duration) error {
	s.mu.Lock()
	v, idle := s.now, s.idle
	s.mu.Unlock()
	if v == nil {
		return nil
	}
	t := time.AfterFunc(moment, v.cancel)
	defer t.Stop()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(moment + patience):
		return fault.New(fault.Unavailable, "the container's files are still being copied")
	}
}

// view opens a container's files, or joins who has them open.
func (c *Containers) view(ctx context.Context, k *Container) (*view, func(), error) {
	if err := k.op.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer k.op.unlock()
	if err := c.hasFiles(k); err != nil {
		return nil, nil, err
	}
	v := k.views.join()
	if v == nil {
		// One that was broken off may still be closing.
		if err := k.views.end(ctx, 0); err != nil {
			return nil, nil, err
		}
		var err error
		if v, err = c.newView(k); err != nil {
			return nil, nil, fmt.Errorf("cannot open the files of container %s: %w", k.id, err)
		}
		k.views.open(v)
	}
	return v, sync.OnceFunc(func() { k.views.leave(v) }), nil
}

// hasFiles refuses containers that are about to be no more.
func (c *Containers) hasFiles(k *Container) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.removing || c.index.gone(k) {
		return fault.New(fault.Conflict, "container %s is being removed", k.id)
	}
	return nil
}

// newView builds a view, as a start builds what the container sees. The operation
// lock is held, so the container neither starts nor ends meanwhile.
func (c *Containers) newView(k *Container) (_ *view, err error) {
	l := &launch{c: c, k: k, rec: k.rec()}
	defer l.undo.Run()
	defer l.files.Run()
	v := &view{ids: c.userMap(l.rec), mounts: l.rec.Mounts, readOnly: l.rec.Host.ReadonlyRootfs, closed: func() {}}
	if v.ids != nil {
		if l.shared.userNS, err = idmap.New(v.ids); err != nil {
			return nil, err
		}
		l.files.Add(l.shared.close)
	}
	p, _ := k.running()
	if v.base, err = l.baseOf(p); err != nil {
		return nil, err
	}
	l.undo.Add(func() { v.base.Close() })
	l.root = v.base
	if p == nil {
		v.closed = func() { c.unmountVolumes(l.rec) } // a start has to wait until then
	}
	mounts, err := l.prepareMounts()
	if err != nil {
		return nil, err
	}
	parts, err := l.parts(append(c.etcMounts(l.rec), mounts...))
	if err != nil {
		return nil, err
	}
	if v.tree, err = v.compose(parts); err != nil {
		return nil, err
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	l.undo.Release()
	return v, nil
}

// baseOf opens the root file system: that of the process, or the layer's when p is nil.
func (l *launch) baseOf(p *process) (*os.File, error) {
	if p == nil {
		return l.mountRoot()
	}
	f, err := mount.RootOf(p.Pidfd, p.rootPath())
	if errors.Is(err, unix.ESRCH) {
		return nil, fault.New(fault.Conflict, "container %s is just ending: try again", l.k.id)
	}
	return f, err
}

// compose puts the parts into the root file system, as its root would.
func (v *view) compose(parts []mount.Part) (*os.File, error) {
	uid, gid := v.root()
	tree, err := mount.Compose(v.base, parts, uid, gid)
	if err != nil || !v.readOnly {
		return tree, err
	}
	if err := mount.SetAttr(tree, false, unix.MOUNT_ATTR_RDONLY, 0, 0, nil); err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

// root is the container's root: on id-mapped files only that user can create.
func (v *view) root() (uid, gid int) {
	if v.ids == nil {
		return 0, 0
	}
	u, _ := v.ids.UID(0)
	g, _ := v.ids.GID(0)
	return int(u), int(g)
}

func (v *view) close() {
	v.cancel()
	v.tree.Close()
	v.base.Close()
	v.closed()
}

// parts are the mounts of the container that show the same to everybody, each as a
// mount of its own, outer ones first.
func (l *launch) parts(mounts []spec.Mount) ([]mount.Part, error) {
	slices.SortStableFunc(mounts, func(a, b spec.Mount) int {
		return strings.Count(path.Clean(a.Destination), "/") - strings.Count(path.Clean(b.Destination), "/")
	})
	var parts []mount.Part
	for _, m := range mounts {
		if m.Type != "bind" {
			continue // a tmpfs has nothing in it that another mount of it would show
		}
		f, err := l.part(m)
		if err != nil {
			return nil, fmt.Errorf("cannot mount %s: %w", m.Destination, err)
		}
		parts = append(parts, mount.Part{File: f, At: m.Destination})
	}
	return parts, nil
}

func (l *launch) part(m spec.Mount) (_ *os.File, err error) {
	f := l.sources[m.Destination] // closed with the launch's files
	if f == nil {
		if f, err = mount.Bind(m.Source, !m.NonRecursive); err != nil {
			return nil, err
		}
		l.files.Add(func() { f.Close() })
	}
	var set uint64
	if m.ReadOnly {
		set = unix.MOUNT_ATTR_RDONLY
	}
	var userns *os.File
	switch {
	case m.IDs != nil:
		if userns, err = idmap.New(m.IDs); err != nil {
			return nil, err
		}
		defer userns.Close()
	case m.MapIDs:
		userns = l.userNS()
	}
	// Private: what is mounted in the source later does not come here, and what is
	// unmounted here does not go there.
	return f, mount.SetAttr(f, true, set, 0, unix.MS_PRIVATE, userns)
}

// etcMounts are the files under /etc that every container has once it was started,
// where no mount of its own is.
func (c *Containers) etcMounts(rec *record) []spec.Mount {
	dir := c.dir(rec.ID)
	if other := c.networkOf(rec); other != nil {
		dir = c.dir(other.id)
	}
	var mounts []spec.Mount
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		m := spec.Mount{Type: "bind", Source: path.Join(dir, name), Destination: "/etc/" + name}
		own := slices.ContainsFunc(rec.Mounts, func(o mountPoint) bool { return path.Clean(o.Destination) == m.Destination })
		if _, err := os.Stat(m.Source); err == nil && !own {
			mounts = append(mounts, m)
		}
	}
	return mounts
}
