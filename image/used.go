package image

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"hoy/lib/atomicfile"
)

// lastUses says when each image was used last: when a container was made from it, or,
// while there is one, whenever a budget is kept. That an image was named is in its
// name's record. It is written now and then, and not synced: what is lost is minutes.
//
// On disk, <root>/used.json: {"version": 1, "used": {"<image ID>": "<time>", …}}
type lastUses struct {
	path string

	mu    sync.Mutex
	at    map[digest.Digest]time.Time // guarded by mu
	dirty bool                        // guarded by mu
}

type usedFile struct {
	Version int                         `json:"version"`
	Used    map[digest.Digest]time.Time `json:"used"`
}

const usedVersion = 1

// openLastUses reads the file. One that cannot be read counts as none: images then go
// by when they were named.
func openLastUses(root string) *lastUses {
	u := &lastUses{path: filepath.Join(root, "used.json"), at: map[digest.Digest]time.Time{}}
	halfWritten, _ := filepath.Glob(filepath.Join(root, ".used.json.tmp*"))
	for _, f := range halfWritten {
		os.Remove(f)
	}
	b, err := os.ReadFile(u.path)
	if os.IsNotExist(err) {
		return u
	}
	var f usedFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil && f.Version != usedVersion {
		err = fmt.Errorf("version %d, this engine knows version %d", f.Version, usedVersion)
	}
	if err != nil {
		slog.Warn("cannot read when images were used", "file", u.path, "error", err)
		return u
	}
	maps.Copy(u.at, f.Used)
	return u
}

// operations are those under way, by the names of their leases.
type operations struct {
	mu sync.Mutex
	at map[string]time.Time // when they began, guarded by mu
}

func (o *operations) begin(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[id] = time.Now()
}

func (o *operations) end(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.at, id)
}

// oldest is when the oldest one began, now if there is none.
func (o *operations) oldest() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := time.Now()
	for _, t := range o.at {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// touch notes that an image is used now.
func (u *lastUses) touch(id digest.Digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at[id], u.dirty = time.Now(), true
}

// of is when an image was used last, named being when it got its name.
func (u *lastUses) of(id digest.Digest, named time.Time) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.at[id]; t.After(named) {
		return t
	}
	return named
}

// save writes the file if there is news, leaving out images that are gone.
func (u *lastUses) save(is func(digest.Digest) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty {
		return
	}
	maps.DeleteFunc(u.at, func(d digest.Digest, _ time.Time) bool { return !is(d) })
	b, err := json.Marshal(usedFile{usedVersion, u.at})
	if err == nil {
		err = atomicfile.Write(u.path, b, 0o600)
	}
	if err != nil {
		slog.Warn("cannot note when images were used", "error", err)
		return
	}
	u.dirty = false
}
