package image

import (
	"context"

	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// GetPlatform returns what the store knows of an image for a platform, nil: the one
// that Get chooses.
func (s *Store) GetPlatform(ctx context.Context, ref string, p *ocispec.Platform) (*Image, error) {
	im, err := s.demand(ctx, ref)
	if err != nil || p == nil {
		return im, err
	}
	ctx = namespaced(ctx)
	all, err := s.candidates(ctx, im.Target, 0)
	if err != nil {
		return nil, err
	}
	chosen := choose(all, []ocispec.Platform{*p})
	if chosen == nil {
		return nil, fault.New(fault.NotFound, "image with reference %s was found but does not provide the specified platform (%s)", withTag(ref), formatAll([]ocispec.Platform{*p})[0])
	}
	chosen.RepoTags, chosen.RepoDigests, chosen.LastTagTime, chosen.Parent = im.RepoTags, im.RepoDigests, im.LastTagTime, im.Parent
	return chosen, s.complete(ctx, chosen, im.Target)
}

// History lists the steps by which an image was made, the last first. The first has
// the image's ID and names; those before have an ID when it was committed on an image
// that is here.
func (s *Store) History(ctx context.Context, ref string, p *ocispec.Platform) ([]apiimage.HistoryResponseItem, error) {
	im, err := s.GetPlatform(ctx, ref, p)
	if err != nil {
		return nil, err
	}
	steps := im.Config.History
	l := make([]apiimage.HistoryResponseItem, len(steps))
	layer := 0
	for i, h := range steps {
		item := apiimage.HistoryResponseItem{ID: "<missing>", Comment: h.Comment, CreatedBy: h.CreatedBy}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer {
			if layer < len(im.sizes) { // not unpacked: no size
				item.Size = im.sizes[layer]
			}
			layer++
		}
		l[len(steps)-1-i] = item
	}
	ix := s.index.Load()
	for i := range l {
		l[i].ID, l[i].Tags = im.Target.Digest.String(), im.RepoTags
		if im = ix.targets[digest.Digest(im.Parent)]; im == nil {
			break
		}
	}
	return l, nil
}
