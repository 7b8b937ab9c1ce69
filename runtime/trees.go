package runtime

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
)

// trees are the file systems of the container in the making: its root and what is
// to be mounted in it. Nothing is attached to anything yet, so a path is resolved in
// the tree that will be there, by its longest prefix.
type trees []*tree

// tree is one of them.
type tree struct {
	at   string   // where it will be: absolute, clean, free of links
	root *os.File // nil: the child makes it (procfs and the like)
	made int      // then: the index of the attachment that makes it
	proc bool     // it is a procfs that programs take for the kernel's word
}

// target is a resolved mount destination.
type target struct {
	tree *tree
	// In a tree that exists: the place, from the tree's root.
	place mount.Place
	// In a tree that the child makes: the path from its root.
	inside string
}

// path returns where the target is in the container.
func (t target) path() string {
	if t.tree.root == nil {
		return path.Join(t.tree.at, t.inside)
	}
	return path.Join(t.tree.at, t.place.Path, path.Join(t.place.Missing...))
}

// find returns the tree that p is in and the rest of p below its root.
func (ts trees) find(p string) (*tree, string) {
	var best *tree
	for _, t := range ts { // a later tree at the same place covers the earlier one
		if within(p, t.at) && (best == nil || len(t.at) >= len(best.at)) {
			best = t
		}
	}
	return best, strings.TrimPrefix(p[len(best.at):], "/")
}

func within(p, dir string) bool {
	return dir == "/" || p == dir || strings.HasPrefix(p, dir+"/")
}

// resolve finds dest as the container will see it. Links are followed inside the
// tree they are in; where one leads into another tree, the search goes on there.
func (ts trees) resolve(dest string) (target, error) {
	p := path.Clean("/" + dest)
	for range maxCrossings {
		t, rest := ts.find(p)
		if t.root == nil {
			return target{tree: t, inside: rest}, nil
		}
		if rest == "" && t.at != "/" { // the root of a mount, maybe of a single file
			f, err := reopen(t.root)
			return target{tree: t, place: mount.Place{Dir: f, Path: "/"}}, err
		}
		place, err := mount.Resolve(t.root, rest)
		if err != nil {
			return target{}, err
		}
		got := target{tree: t, place: place}
		if u, _ := ts.find(got.path()); u == t {
			return got, nil
		}
		place.Dir.Close()
		p = got.path()
	}
	return target{}, &os.PathError{Op: "resolve", Path: dest, Err: unix.ELOOP}
}

// maxCrossings bounds how often a link may lead from one mount into another.
const maxCrossings = 40

func reopen(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
