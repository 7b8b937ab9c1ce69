package image

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AddBuilt makes an image of what a builder has put into the content store: its layers
// are made of the builder's snapshots, or unpacked, then it gets its names, or is kept
// without one. Nobody sees it before. snapshots says by chain ID which snapshot, that the
// builder keeps meanwhile, has the content of a layer and all below it.
func (s *Store) AddBuilt(ctx context.Context, names []string, target ocispec.Descriptor, snapshots map[string]string) error {
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := s.haveBlob(ctx, target.Digest); err != nil {
		return err
	}
	target.Annotations = nil // the builder's words to itself
	if err := s.unpackBuilt(ctx, target, snapshots); err != nil {
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

func (s *Store) unpackBuilt(ctx context.Context, target ocispec.Descriptor, snapshots map[string]string) error {
	all, err := s.candidates(ctx, target, 0)
	if err != nil {
		return err
	}
	im := choose(all, nil)
	if im == nil {
		return nil // of no image: an artifact
	}
	added, complete, err := s.alias(ctx, im.Config.RootFS.DiffIDs, snapshots)
	if err != nil {
		return err
	}
	if added > 0 { // steps write without syncing
		if err := s.sync(); err != nil {
			return err
		}
	}
	if !complete {
		return s.makeReady(ctx, im)
	}
	return s.labelBuilt(ctx, im)
}

// labelBuilt ties the layers to the image, if the builder has not.
func (s *Store) labelBuilt(ctx context.Context, im *Image) error {
	chain := chainID(im.Config.RootFS.DiffIDs)
	info, err := s.content.Info(ctx, im.ConfigDigest)
	if err != nil || chain == "" || info.Labels[labelSnapshotRef] == chain {
		return err
	}
	return s.label(ctx, im.ConfigDigest, map[string]string{labelSnapshotRef: chain})
}
