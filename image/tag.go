package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/failpoint"
)

// Tag gives the image another name. An image that had the name and has no other
// stays as a dangling one.
func (s *Store) Tag(ctx context.Context, ref, newRef string) error {
	name, err := parseTag(newRef)
	if err != nil {
		return err
	}
	im, err := s.demand(ctx, ref)
	if err != nil {
		return err
	}
	if err := s.setChild(namespaced(ctx), name.String(), im.Target, im.Parent); err != nil {
		return fmt.Errorf("cannot tag %s as %s: %w", ref, newRef, err)
	}
	return nil
}

// setName makes name lead to target; "" makes sure only that target is kept.
func (s *Store) setName(ctx context.Context, name string, target ocispec.Descriptor) error {
	return s.setChild(ctx, name, target, "")
}

// setChild is setName for an image with a parent.
func (s *Store) setChild(ctx context.Context, name string, target ocispec.Descriptor, parent string) error {
	var labels map[string]string
	if parent != "" {
		labels = map[string]string{labelParent: parent}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" {
		if s.named(target) > 0 {
			return s.refresh(ctx, target.Digest)
		}
		name = danglingName(target.Digest)
	}
	before, err := s.images.Get(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		_, err = s.images.Create(ctx, images.Image{Name: name, Target: target, Labels: labels})
	case err == nil:
		if before.Target.Digest != target.Digest && s.named(before.Target) == 1 {
			if err := s.keepDangling(ctx, before.Target); err != nil {
				return err
			}
		}
		_, err = s.images.Update(ctx, images.Image{Name: name, Target: target, Labels: labels}, "target", "labels")
	}
	if err == nil {
		err = failpoint.Hit(failpoint.StoreNamed)
	}
	if err != nil {
		return fmt.Errorf("cannot name image %s: %w", name, err)
	}
	if !isDangling(name) {
		if err := s.images.Delete(ctx, danglingName(target.Digest)); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return s.refresh(ctx, target.Digest)
}

// named counts the names of target, by the index. The caller holds s.mu.
func (s *Store) named(target ocispec.Descriptor) int {
	n := 0
	for _, d := range s.index.Load().stored {
		if d == target.Digest {
			n++
		}
	}
	return n
}

func (s *Store) keepDangling(ctx context.Context, target ocispec.Descriptor) error {
	_, err := s.images.Create(ctx, images.Image{Name: danglingName(target.Digest), Target: target})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}
