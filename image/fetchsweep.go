package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// sweepPartials removes what nobody went on fetching, and what is in the store.
func (s *Store) sweepPartials(ctx context.Context) error {
	if err := os.MkdirAll(s.partials(), 0o700); err != nil {
		return err
	}
	es, err := os.ReadDir(s.partials())
	if err != nil {
		return err
	}
	for _, e := range es {
		st, err := e.Info()
		if err != nil {
			return err
		}
		alg, hex, _ := strings.Cut(e.Name(), "-")
		_, err = s.content.Info(ctx, digest.NewDigestFromEncoded(digest.Algorithm(alg), hex))
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err == nil || time.Since(st.ModTime()) > staleAfter {
			if err := os.Remove(filepath.Join(s.partials(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropPartials removes what nobody is fetching just now, and says how many bytes it had.
func (s *Store) dropPartials() (freed int64, err error) {
	s.fetchMu.Lock() // nobody may begin to go on with one meanwhile
	defer s.fetchMu.Unlock()
	fetched := map[string]bool{}
	for d := range s.fetches {
		fetched[s.partialPath(d)] = true
	}
	all, err := filepath.Glob(filepath.Join(s.partials(), "*"))
	if err != nil {
		return 0, err
	}
	for _, path := range all {
		st, err := os.Stat(path)
		if fetched[path] || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return freed, fmt.Errorf("cannot remove what is left of a pull: %w", err)
		}
		freed += st.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return freed, nil
}

// room refuses to begin what the disk has no room for. The sizes are those that somebody
// else has written into a manifest, and may be any number.
func (s *Store) room(blobs []ocispec.Descriptor) error {
	free, err := s.space()
	if err != nil {
		return err
	}
	left := free
	for _, b := range blobs {
		if b.Size < 0 {
			return fault.New(fault.Invalid, "%s has a size of %d bytes, by its manifest", b.Digest, b.Size)
		}
		need := b.Size
		if st, err := os.Stat(s.partialPath(b.Digest)); err == nil {
			need -= min(st.Sys().(*syscall.Stat_t).Blocks*512, b.Size)
		}
		if need > left {
			return fault.New(fault.Unavailable, "%d bytes are to be fetched for %s, the disk has %d free, and %d for what comes before: %w", need, b.Digest, free, free-left, unix.ENOSPC)
		}
		left -= need
	}
	return nil
}
