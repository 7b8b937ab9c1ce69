package buildcontext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
)

// tree is the files of a folder that make a context.
type tree struct {
	root    string
	ignored ignore
}

// file is one file of a context.
type file struct {
	name string // in the context, with slashes
	path string // on this machine
	info fs.FileInfo
}

// walk calls f for each file: folders before what is in them, names in order. A folder
// that stays out is told of when something in it does not. Sockets are left out: they
// mean nothing in an image.
func (t *tree) walk(f func(file) error) error {
	w := walker{tree: t, tell: f}
	return w.folder("", patternmatcher.MatchInfo{})
}

type walker struct {
	*tree
	tell   func(file) error
	parent []visit // the folders above, from the top
}

// visit is a folder that is being walked.
type visit struct {
	file
	told bool
}

func (w *walker) folder(name string, parent patternmatcher.MatchInfo) error {
	entries, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(name)))
	if err != nil {
		return unreadable(err)
	}
	for _, e := range entries {
		child := e.Name()
		if name != "" {
			child = name + "/" + child
		}
		if err := w.child(child, e, parent); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) child(name string, e fs.DirEntry, parent patternmatcher.MatchInfo) error {
	out, match, err := w.ignored.match(name, parent)
	if err != nil {
		return fmt.Errorf("cannot tell whether %s is ignored: %w", name, err)
	}
	enter := e.IsDir() && (!out || w.ignored.mayHold(name))
	if out && !enter || e.Type()&fs.ModeSocket != 0 {
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since the folder was read
	}
	if err != nil {
		return unreadable(err)
	}
	f := file{name, filepath.Join(w.root, filepath.FromSlash(name)), info}
	if !out {
		if err := w.give(f); err != nil {
			return err
		}
	}
	if !enter {
		return nil
	}
	w.parent = append(w.parent, visit{f, !out})
	err = w.folder(name, match)
	w.parent = w.parent[:len(w.parent)-1]
	if out && errors.Is(err, fs.ErrPermission) {
		return nil // nobody asked for it
	}
	return err
}

// give tells of a file, after the folders above it.
func (w *walker) give(f file) error {
	for i := range w.parent {
		if p := &w.parent[i]; !p.told {
			p.told = true
			if err := w.tell(p.file); err != nil {
				return err
			}
		}
	}
	return w.tell(f)
}

// unreadable adds what to do about a file that cannot be read.
func unreadable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot read the build context: %w: make it readable, or name it in .dockerignore", err)
	}
	return fmt.Errorf("cannot read the build context: %w", err)
}
