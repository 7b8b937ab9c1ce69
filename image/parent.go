package image

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	apiimage "github.com/moby/moby/api/types/image"
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

// RemoveOrphans removes an image that has no name, nobody uses, and no other image was
// made of, and then those above it by the same rule, as Remove does with what it removes.
// parent is the ID of the first; "": there is none.
func (s *Store) RemoveOrphans(ctx context.Context, parent string, users func(imageID string) []User) ([]apiimage.DeleteResponse, error) {
	ctx = namespaced(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []apiimage.DeleteResponse
	for parent != "" {
		ix := s.index.Load()
		im := ix.targets[digest.Digest(parent)]
		if im == nil || len(im.RepoTags)+len(im.RepoDigests) > 0 || ix.hasChild(parent) || users != nil && len(users(parent)) > 0 {
			break
		}
		if err := s.images.Delete(ctx, danglingName(im.Target.Digest)); err != nil && !errdefs.IsNotFound(err) {
			return out, fmt.Errorf("cannot remove image %s: %w", parent, err)
		}
		out = append(out, apiimage.DeleteResponse{Deleted: im.ID})
		if err := s.refresh(ctx); err != nil {
			return out, err
		}
		parent = im.Parent
	}
	if len(out) > 0 {
		s.collectSoon()
	}
	return out, nil
}

func (ix *index) hasChild(id string) bool {
	return slices.ContainsFunc(ix.list, func(im *Image) bool { return im.Parent == id })
}
