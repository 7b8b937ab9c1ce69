package build

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/buildkit/session/filesync"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"hoy/lib/buildfiles"
)

// The names by which BuildKit's front end knows folders of a client.
const (
	localContext    = "context"
	localDockerfile = "dockerfile"
)

// offered are the folders of a request by the names that BuildKit asks for, and the key
// by which it keeps what it has of them apart from others'.
func offered(f *buildfiles.Files) (dirs filesync.StaticDirSource, key string) {
	dirs = filesync.StaticDirSource{}
	for name, l := range f.Folders {
		local := name
		if named, ok := strings.CutPrefix(name, contextPrefix); ok {
			local = namedLocal(named)
		}
		dirs[local] = remoteFolder{files: f, name: name, list: l}
	}
	if l := f.Folders[localContext]; l != nil {
		key = l.Key
	}
	return dirs, key
}

// contextPrefix begins the names of folders, and attributes, that are further contexts.
const contextPrefix = "context:"

// namedLocal is the name of a further context's folder; none is that of the main ones.
func namedLocal(name string) string { return "_" + name }

// remoteFolder is a client's folder as BuildKit reads folders.
type remoteFolder struct {
	files *buildfiles.Files
	name  string
	list  *buildfiles.Listing
}

// Walk tells of target and all below it, as filepath.WalkDir does but for the folder
// itself.
func (r remoteFolder) Walk(ctx context.Context, target string, f fs.WalkDirFunc) error {
	target = strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(target)), "/")
	entries := r.list.Below(target)
	if entries == nil && target != "" {
		err := f(target, nil, &fs.PathError{Op: "lstat", Path: target, Err: syscall.ENOENT})
		if errors.Is(err, fs.SkipDir) || errors.Is(err, fs.SkipAll) {
			return nil
		}
		return err
	}
	skip := "" // of what begins so nothing is told
	for i := range entries {
		e := &entries[i]
		if skip != "" && strings.HasPrefix(e.Name, skip) {
			continue
		}
		skip = ""
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := f(filepath.FromSlash(e.Name), &fsutil.DirEntryInfo{Stat: statOf(e)}, nil); {
		case errors.Is(err, fs.SkipAll):
			return nil
		case errors.Is(err, fs.SkipDir):
			if skip = e.Name + "/"; fs.FileMode(e.Mode).IsDir() {
				break
			}
			if skip = path.Dir(e.Name) + "/"; skip == "./" {
				return nil
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// Open fetches a file from the client.
func (r remoteFolder) Open(name string) (io.ReadCloser, error) {
	return r.files.Open(r.name, strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/"))
}

// statOf is a file as BuildKit knows it. All are root's.
func statOf(e *buildfiles.Entry) *types.Stat {
	return &types.Stat{
		Path: filepath.FromSlash(e.Name), Mode: e.Mode, Size: e.Size, ModTime: e.Time, Linkname: e.Link,
		Devmajor: e.Major, Devminor: e.Minor, Xattrs: e.Attrs,
	}
}
