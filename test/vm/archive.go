package vm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes a cpio archive in the form that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). The first error sticks
// and is returned by close.
type archive struct {
	w    *bufio.Writer
	n    int64
	ino  int
	dirs map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: bufio.NewWriterSize(w, 1<<20), dirs: map[string]bool{".": true}}
}

// Types of files, as in stat(2).
const (
	typeDir     = 0o040000
	typeChar    = 0o020000
	typeRegular = 0o100000
)

func (a *archive) Write(b []byte) (int, error) {
	n, err := a.w.Write(b)
	a.n += int64(n)
	if a.err == nil {
		a.err = err
	}
	return n, err
}

func (a *archive) pad() {
	for a.n%4 != 0 {
		a.Write([]byte{0})
	}
}

func (a *archive) header(name string, mode, size, major, minor int) {
	if dir := path.Dir(name); !a.dirs[dir] {
		a.dirs[dir] = true
		a.header(dir, typeDir|0o755, 0, 0, 0)
	}
	a.ino++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.ino, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0)
	io.WriteString(a, name+"\x00")
	a.pad()
}

// add writes a regular file.
func (a *archive) add(name string, content []byte, perm int) {
	a.header(name, typeRegular|perm, len(content), 0, 0)
	a.Write(content)
	a.pad()
}

// copy writes the file here as name; with perm 0 it keeps its own.
func (a *archive) copy(name, here string, perm int) {
	b, err := os.ReadFile(here)
	if err == nil && perm == 0 {
		var info os.FileInfo
		if info, err = os.Stat(here); err == nil {
			perm = int(info.Mode().Perm())
		}
	}
	if err != nil {
		if a.err == nil {
			a.err = err
		}
		return
	}
	a.add(strings.TrimPrefix(name, "/"), b, perm)
}

func (a *archive) device(name string, major, minor int) {
	a.header(name, typeChar|0o600, 0, major, minor)
}

// close ends the archive such that another can follow it.
func (a *archive) close() error {
	a.header("TRAILER!!!", 0, 0, 0, 0)
	for a.n%512 != 0 {
		a.Write([]byte{0})
	}
	if err := a.w.Flush(); a.err == nil {
		a.err = err
	}
	return a.err
}
