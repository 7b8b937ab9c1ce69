package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/container"
	"hoy/image"
	"hoy/lib/diskuse"
	"hoy/linux/tree"
)

// Disk accounts for every byte below the data root. It walks all of it, and holds up
// nobody.
func (a *about) Disk(ctx context.Context) (*diskuse.Report, error) {
	r, err := a.account(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot account for the data root: %w", err)
	}
	return r, nil
}

func (a *about) account(ctx context.Context) (*diskuse.Report, error) {
	o, err := a.owners(ctx)
	if err != nil {
		return nil, err
	}
	root, err := os.Open(a.d.options().DataRoot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(root.Fd()), &fs); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	l := ledger{owners: o, lines: map[diskuse.Kind]*diskuse.Line{}}
	if err := l.dir(ctx, root, ""); err != nil {
		return nil, err
	}
	r := &diskuse.Report{Root: root.Name(), Free: int64(fs.Bavail) * fs.Bsize, Budget: a.d.options().DiskBudget}
	for _, k := range diskuse.Kinds {
		line := l.lines[k]
		if line == nil {
			line = &diskuse.Line{Kind: k}
		}
		if line.Reclaimable > 0 {
			line.Remedy = diskuse.Remedies[k]
		}
		r.Size += line.Size
		r.Reclaimable += line.Reclaimable
		r.Lines = append(r.Lines, *line)
	}
	return r, nil
}

// owners are those who need something below the data root.
type owners struct {
	images     image.Places
	containers map[string]bool // by ID, whether it runs
	volumes    map[string]bool // by name, whether containers use it
}

func (a *about) owners(ctx context.Context) (o owners, err error) {
	used := func(id string) bool { ids, _ := a.d.containers.Users(id); return len(ids) > 0 }
	if o.images, err = a.d.images.store.Places(ctx, used); err != nil {
		return o, err
	}
	list, err := a.d.containers.List(ctx, container.ListOptions{All: true})
	if err != nil {
		return o, err
	}
	o.containers, o.volumes = map[string]bool{}, map[string]bool{}
	for _, c := range list {
		switch c.State {
		case apicontainer.StateRunning, apicontainer.StatePaused, apicontainer.StateRestarting:
			o.containers[c.ID] = true
		default:
			o.containers[c.ID] = false
		}
	}
	for _, v := range a.d.volumes.List() {
		o.volumes[v.Name] = len(v.Users) > 0
	}
	return o, nil
}

// verdict is what something is.
type verdict struct {
	kind        diskuse.Kind
	reclaimable bool
	counts      bool // it is one of the things that its line counts
}

// folders are those below the data root of which each entry is judged for itself.
var folders = map[string]bool{
	"": true, "image": true, "image/content": true, "image/content/blobs": true, "image/content/blobs/sha256": true,
	"image/content/ingest": true, "image/overlay": true, "image/overlay/snapshots": true, "image/staging": true, "image/partial": true,
	"layers": true, "layers/.trash": true, "containers": true, "volumes": true,
}

// judge says what the entry at a path is: the folders' formats are drawn where they
// are written (image.Store, snapshot.Layers, package container, volume.Store).
func (o *owners) judge(at string) verdict {
	dir, name := filepath.Dir(at), filepath.Base(at)
	hidden := strings.HasPrefix(name, ".") // a snapshot's or volume's way out
	switch dir {
	case "image/content/blobs/sha256":
		h := o.images.Blobs["sha256/"+name]
		return held(diskuse.Blobs, h)
	case "image/overlay/snapshots":
		return held(diskuse.Layers, o.images.Layers[name])
	case "image/content/ingest", "image/partial":
		return verdict{diskuse.Partial, true, true}
	case "image/staging":
		return verdict{diskuse.Staging, false, true}
	case "layers/.trash":
		return verdict{diskuse.Unowned, true, true}
	case "layers":
		runs, known := o.containers[name]
		if name == ".points" {
			return verdict{kind: diskuse.Databases}
		}
		return owned(diskuse.Writable, known, runs)
	case "volumes":
		used, known := o.volumes[name]
		return owned(diskuse.Volumes, known && !hidden, used)
	case "image", "image/overlay", "network":
		return verdict{kind: diskuse.Databases}
	case ".":
		if name == "build" { // records of the cache
			return verdict{kind: diskuse.BuildCache}
		}
		if name == "engine-id" || name == "engine.lock" || name == "network" {
			return verdict{kind: diskuse.Databases}
		}
	}
	if id, inside, ok := strings.Cut(strings.TrimPrefix(at, "containers/"), "/"); ok && strings.HasPrefix(at, "containers/") {
		if strings.Contains(inside, "-json.log") {
			runs := o.containers[id]
			return verdict{diskuse.Logs, !runs, true}
		}
		return verdict{kind: diskuse.Databases}
	}
	return verdict{kind: diskuse.OtherFiles, counts: true}
}

func held(k diskuse.Kind, h image.Holder) verdict {
	if h == image.HeldByCache {
		k = diskuse.BuildCache
	}
	return owned(k, h != image.HeldByNobody, h == image.HeldByContainers)
}

func owned(k diskuse.Kind, known, used bool) verdict {
	if !known {
		return verdict{diskuse.Unowned, true, true}
	}
	return verdict{k, !used, true}
}

// ledger is a report in the making.
type ledger struct {
	owners
	lines map[diskuse.Kind]*diskuse.Line
	meter tree.Meter
}

// dir goes through a folder whose entries are judged for themselves.
func (l *ledger) dir(ctx context.Context, dir *os.File, at string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	l.meter.Size = 0
	l.meter.Count(&st)
	l.book(verdict{kind: diskuse.Databases})
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := l.entry(ctx, dir, n, filepath.Join(at, n)); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) entry(ctx context.Context, dir *os.File, name, at string) error {
	if folders[at] || filepath.Dir(at) == "containers" {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			sub := os.NewFile(uintptr(fd), at)
			defer sub.Close()
			return l.dir(ctx, sub, at)
		}
	}
	l.meter.Size = 0
	if err := l.meter.Tree(ctx, dir, name); err != nil {
		return err
	}
	l.book(l.judge(at))
	return nil
}

// book puts what was measured last into its line.
func (l *ledger) book(v verdict) {
	line := l.lines[v.kind]
	if line == nil {
		line = &diskuse.Line{Kind: v.kind}
		l.lines[v.kind] = line
	}
	line.Size += l.meter.Size
	if v.counts {
		line.Count++
	}
	if v.reclaimable {
		line.Reclaimable += l.meter.Size
	}
}
