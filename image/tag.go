package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	// It may have been removed since, and its content with it: a name keeps what is there.
	if s.index.Load().targets[im.Target.Digest] == nil {
		return fault.New(fault.NotFound, "No such image: %s", withTag(ref))
	}
	if err := s.setChildLocked(namespaced(ctx), name.String(), im.Target, ""); err != nil {
		return fmt.Errorf("cannot tag %s as %s: %w", ref, newRef, err)
	}
	return nil
}

// setName makes name lead to target; "" makes sure only that target is kept.
func (s *Store) setName(ctx context.Context, name string, target ocispec.Descriptor) error {
	return s.setChild(ctx, name, target, "")
}

// setChild is setName for an image with a parent; "": the one that it has, if any.
func (s *Store) setChild(ctx context.Context, name string, target ocispec.Descriptor, parent string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setChildLocked(ctx, name, target, parent)
}

func (s *Store) setChildLocked(ctx context.Context, name string, target ocispec.Descriptor, parent string) error {
	if im := s.index.Load().targets[target.Digest]; im != nil && parent == "" {
		parent = im.Parent
	}
	labels := childOf(parent)
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
			if err := s.keepDangling(ctx, before.Target, before.Labels[labelParent]); err != nil {
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

// childOf are the labels of a name of an image with a parent; "": none.
func childOf(parent string) map[string]string {
	if parent == "" {
		return nil
	}
	return map[string]string{labelParent: parent}
}

func (s *Store) keepDangling(ctx context.Context, target ocispec.Descriptor, parent string) error {
	_, err := s.images.Create(ctx, images.Image{Name: danglingName(target.Digest), Target: target, Labels: childOf(parent)})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}
