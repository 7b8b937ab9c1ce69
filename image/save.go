package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	export "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// Save writes images as docker save does: one archive that is an OCI layout and
// docker's own format at once. A name without tag means all images of the repository;
// what is named by its ID has no name in the archive. Of images for several platforms
// it takes what is here, with wanted platforms only those. saved is told of each image
// before the first byte; what fails until then has written nothing.
func (s *Store) Save(ctx context.Context, refs []string, wanted []ocispec.Platform, w io.Writer, saved func(*Image)) error {
	if len(refs) == 0 {
		return fault.New(fault.Invalid, "no image to save is named")
	}
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return err
	}
	defer done()
	match := preferring(wanted)
	o := []export.ExportOpt{export.WithSkipNonDistributableBlobs(), export.WithPlatform(match), export.WithSkipMissing(s.content)}
	var all []*Image
	for _, ref := range refs {
		if _, err := s.demand(ctx, ref); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		found, err := s.toSave(ref)
		if err != nil {
			return err
		}
		for _, f := range found {
			target, err := s.leased(ctx, f.im, wanted)
			if err != nil {
				return fmt.Errorf("cannot save %s: %w", ref, err)
			}
			var names []string
			if f.name != "" {
				names = []string{f.name}
			}
			o = append(o, export.WithManifest(target, names...))
			all = append(all, f.im)
		}
	}
	for _, im := range all {
		saved(im)
	}
	return export.Export(ctx, s.content, w, o...)
}

// wantedImage is an image to be saved under a name, or without one.
type wantedImage struct {
	im   *Image
	name string // canonical
}

func (s *Store) toSave(ref string) ([]wantedImage, error) {
	ix := s.index.Load()
	im, findErr := ix.find(ref)
	named, err := reference.ParseNormalizedNamed(ref)
	byID := findErr == nil && im.isID(ref)
	if err == nil && !byID && reference.IsNameOnly(named) {
		return ix.repository(named)
	}
	if findErr != nil {
		return nil, findErr
	}
	if _, digested := named.(reference.Digested); byID || err != nil || digested {
		return []wantedImage{{im, ""}}, nil
	}
	return []wantedImage{{im, named.String()}}, nil
}

// repository lists the images with names in a repository.
func (ix *index) repository(repo reference.Named) ([]wantedImage, error) {
	var l []wantedImage
	for name, target := range ix.stored {
		if n, err := reference.ParseNormalizedNamed(name); err == nil && !isDangling(name) && n.Name() == repo.Name() {
			l = append(l, wantedImage{ix.targets[target], name})
		}
	}
	if l == nil {
		return nil, notFound(repo)
	}
	slices.SortFunc(l, func(a, b wantedImage) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

// leased keeps an image's content until the lease ends, and returns what is to be
// saved of it: with one wanted platform that one's manifest alone.
func (s *Store) leased(ctx context.Context, im *Image, wanted []ocispec.Platform) (ocispec.Descriptor, error) {
	target := ocispec.Descriptor{MediaType: im.Target.MediaType, Digest: im.Target.Digest, Size: im.Target.Size}
	if id, ok := leases.FromContext(ctx); ok {
		r := leases.Resource{ID: target.Digest.String(), Type: "content"}
		if err := s.leases.AddResource(ctx, leases.Lease{ID: id}, r); err != nil {
			return target, fmt.Errorf("cannot lease: %w", err)
		}
	}
	if s.index.Load().targets[target.Digest] == nil {
		return target, fault.New(fault.NotFound, "No such image: %s", im.ID)
	}
	if len(wanted) == 0 {
		return target, nil
	}
	candidates, err := s.candidates(ctx, target, 0)
	if err != nil {
		return target, err
	}
	chosen := choose(candidates, wanted)
	if chosen == nil {
		return target, fault.New(fault.NotFound, "no suitable export target found: image does not provide the platform(s) %v", formatAll(wanted))
	}
	if len(wanted) == 1 {
		m := chosen.Manifest
		return ocispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}, nil
	}
	return target, nil
}

// preferring matches the wanted platforms, or all when there are none: this machine's
// before others.
func preferring(wanted []ocispec.Platform) platforms.MatchComparer {
	if len(wanted) > 0 {
		return platforms.Ordered(wanted...)
	}
	return hostFirst{platforms.Default()}
}

type hostFirst struct{ host platforms.MatchComparer }

func (hostFirst) Match(ocispec.Platform) bool { return true }
func (h hostFirst) Less(a, b ocispec.Platform) bool {
	return h.host.Match(a) && (!h.host.Match(b) || h.host.Less(a, b))
}
