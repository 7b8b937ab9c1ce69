package container

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// spares are directories and files that removed containers leave for the next
// ones: to make an inode costs ext4 half a millisecond, to rename one a twentieth
// of that. A directory keeps its hosts, hostname and resolv.conf, which every start
// writes anew, and the file of the record. All have names with a dot in front,
// and Open removes those of an earlier engine.
type spares struct {
	mu    sync.Mutex
	made  int
	dirs  []string
	files []string
}

// maxSpares is how many of each are kept: as many as may start at once.
const maxSpares = 16

const (
	sparePrefix = ".spare-"
	spareRecord = "record.new"
)

func take(l *[]string) (string, bool) {
	n := len(*l)
	if n == 0 {
		return "", false
	}
	path := (*l)[n-1]
	*l = (*l)[:n-1]
	return path, true
}

// put renames path to a name in dir and remembers it; false: there are enough, or
// it cannot be.
func (s *spares) put(l *[]string, path, dir string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(*l) >= maxSpares {
		return "", false
	}
	s.made++
	to := filepath.Join(dir, sparePrefix+strconv.Itoa(s.made))
	if os.Rename(path, to) != nil {
		return "", false
	}
	*l = append(*l, to)
	return to, true
}

// makeDir makes the directory of a container.
func (c *Containers) makeDir(id string) error {
	c.spares.mu.Lock()
	spare, ok := take(&c.spares.dirs)
	c.spares.mu.Unlock()
	if ok && os.Rename(spare, c.dir(id)) == nil {
		return nil
	}
	return os.Mkdir(c.dir(id), 0o710)
}

// removeDir takes a container's directory away; with its name goes the record, which is
// not saved any more: a save under way would make a file in the midst of it.
func (c *Containers) removeDir(k *Container) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	err := c.removeFiles(k)
	k.removed = err == nil
	return err
}

// removeFiles removes a container's directory, or makes it a spare. The files are not given
// to another container when somebody may still see them.
func (c *Containers) removeFiles(k *Container) error {
	dir := c.dir(k.id)
	k.mu.Lock()
	private := !k.shared
	k.mu.Unlock()
	if !private {
		return os.RemoveAll(dir)
	}
	// The log goes: whoever reads it must not come to read another's.
	logs, _ := filepath.Glob(c.logPath(k.id) + "*")
	for _, l := range logs {
		os.Remove(l)
	}
	c.hideRecord(k.id) // if it is not yet
	// The record is emptied now and not when it is written again: then somebody waits.
	if os.Truncate(filepath.Join(dir, spareRecord), 0) != nil {
		return os.RemoveAll(dir)
	}
	if _, ok := c.spares.put(&c.spares.dirs, dir, c.o.Root); !ok {
		return os.RemoveAll(dir)
	}
	return nil
}

// hideRecord makes a container's directory one without record.
func (c *Containers) hideRecord(id string) error {
	return os.Rename(c.recordPath(id), filepath.Join(c.dir(id), spareRecord))
}

// writeRecord replaces the record of a container that is removed at its exit, without
// making it durable, in the file that a spare directory has for it.
func (c *Containers) writeRecord(id string, b []byte) error {
	spare := filepath.Join(c.dir(id), spareRecord)
	if err := os.WriteFile(spare, b, temporaryMode); err != nil {
		return err
	}
	if err := os.Chmod(spare, temporaryMode); err != nil { // it may have been another's
		return err
	}
	return os.Rename(spare, c.recordPath(id))
}

// overwrite is os.WriteFile that keeps the blocks which a file has: to free and to
// allocate them costs a start up to a millisecond a file, where deleted blocks are
// discarded at once. Whoever looks meanwhile may see both contents mixed.
func overwrite(path string, b []byte, perm os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil || fi.Size() == int64(len(b)) {
		return err
	}
	return f.Truncate(int64(len(b)))
}

// writeRunning records the process of a container.
func (c *Containers) writeRunning(r *running) error {
	c.spares.mu.Lock()
	spare, ok := take(&c.spares.files)
	if !ok {
		c.spares.made++
		spare = filepath.Join(c.o.ExecRoot, "containers", sparePrefix+strconv.Itoa(c.spares.made))
	}
	c.spares.mu.Unlock()
	return replaceJSON(spare, c.runningPath(r.ID), r)
}

// removeRunning takes that record away.
func (c *Containers) removeRunning(id string) {
	path := c.runningPath(id)
	if _, ok := c.spares.put(&c.spares.files, path, filepath.Dir(path)); !ok {
		os.Remove(path)
	}
}

// isSpare reports whether name is that of a spare.
func isSpare(name string) bool { return strings.HasPrefix(name, sparePrefix) }
