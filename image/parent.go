package image

import (
	"context"
	"fmt"
	"maps"

	"github.com/opencontainers/go-digest"

	"hoy/lib/fault"
)

// SetParent says of an image which one it was made of, as Commit does. An image that has
// a parent, or has been there before under a name, keeps what it has.
func (s *Store) SetParent(ctx context.Context, id, parent string) error {
	target := digest.Digest(id)
	if target.Validate() != nil || digest.Digest(parent).Validate() != nil {
		return fault.New(fault.Invalid, "an image and its parent have digests: %q, %q", id, parent)
	}
	ctx = namespaced(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.index.Load().stored {
		if d != target {
			continue
		}
		im, err := s.images.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("cannot set the parent of image %s: %w", id, err)
		}
		if im.Labels[labelParent] != "" {
			continue
		}
		im.Labels = maps.Clone(im.Labels)
		if im.Labels == nil {
			im.Labels = map[string]string{}
		}
		im.Labels[labelParent] = parent
		if _, err := s.images.Update(ctx, im, "labels"); err != nil {
			return fmt.Errorf("cannot set the parent of image %s: %w", id, err)
		}
	}
	return s.refresh(ctx, target)
}

// Present returns a function that tells which images are there now, by their ids,
// whatever happens to them later.
func (s *Store) Present() func(id string) bool {
	targets := s.index.Load().targets
	return func(id string) bool { return targets[digest.Digest(id)] != nil }
}
