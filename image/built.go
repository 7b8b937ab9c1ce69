package image

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AddBuilt makes an image of what a builder has put into the content store: its layers
// are unpacked, then it gets its names, or is kept without one. Nobody sees it before.
func (s *Store) AddBuilt(ctx context.Context, names []string, target ocispec.Descriptor) error {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := s.haveBlob(ctx, target.Digest); err != nil {
		return err
	}
	target.Annotations = nil // the builder's words to itself
	if err := s.unpackBuilt(ctx, target); err != nil {
		return fmt.Errorf("cannot unpack what was built: %w", err)
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		if name != "" {
			tag, err := parseTag(name)
			if err != nil {
				return err
			}
			name = tag.String()
		}
		if err := s.setName(ctx, name, target); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unpackBuilt(ctx context.Context, target ocispec.Descriptor) error {
	all, err := s.candidates(ctx, target, 0)
	if err != nil {
		return err
	}
	im := choose(all, nil)
	if im == nil {
		return nil // of no image: an artifact
	}
	return s.makeReady(ctx, im)
}
