package image

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
)

// Use says that a container is made from an image.
type Use struct {
	ID   string // the image's
	Name string // how the container names it
}

// PruneOptions say which images Prune removes.
type PruneOptions struct {
	All    bool                               // also those with names
	Passes func(im *Image, named string) bool // nil: all; named is a stored name
	Uses   []Use                              // what containers use stays
}

// Prune removes images that no container uses, by docker's rules: a container keeps
// the name it was made from; one that was made from an ID keeps the last name of it.
// What pulls have left half-fetched goes too. It returns what was removed and how many
// bytes that will free; the files go in the background.
func (s *Store) Prune(ctx context.Context, o PruneOptions) ([]apiimage.DeleteResponse, int64, error) {
	partial, err := s.dropPartials()
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	removed, size, err := s.take(ctx, s.index.Load().prunable(o))
	return removed, size + partial, err
}

// take removes names, and says what goes with them. The caller holds s.mu.
func (s *Store) take(ctx context.Context, names []string) ([]apiimage.DeleteResponse, int64, error) {
	if len(names) == 0 {
		return nil, 0, nil
	}
	// A collection must not take what is still to be measured.
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	ix := s.index.Load()
	var out []apiimage.DeleteResponse
	going := map[digest.Digest]*Image{}
	for _, n := range names {
		im := ix.targets[ix.stored[n]]
		if _, err := s.haveBlob(ctx, im.Target.Digest); err != nil {
			return out, 0, err
		}
		if err := s.images.Delete(ctx, n); err != nil && !errdefs.IsNotFound(err) {
			return out, 0, fmt.Errorf("cannot remove %s: %w", familiar(n), err)
		}
		shown := familiar(n)
		if isDangling(n) {
			shown = im.ID
		}
		out = append(out, apiimage.DeleteResponse{Untagged: shown})
		going[im.Target.Digest] = im
	}
	if err := s.refresh(ctx); err != nil {
		return out, 0, err
	}
	deleted, size, err := s.reclaimed(ctx, going)
	return append(out, deleted...), size, err
}

// prunable lists the stored names that may go.
func (ix *index) prunable(o PruneOptions) []string {
	prune, refs := map[string]bool{}, map[digest.Digest]int{}
	for n, d := range ix.stored {
		refs[d]++
		if (o.All || isDangling(n)) && (o.Passes == nil || o.Passes(ix.targets[d], n)) {
			prune[n] = true
		}
	}
	byID := map[digest.Digest]bool{}
	for _, u := range o.Uses {
		d := digest.Digest(u.ID)
		delete(prune, danglingName(d))
		if u.named(prune) {
			byID[d] = true
		}
	}
	var names []string
	for _, n := range slices.Sorted(maps.Keys(prune)) {
		d := ix.stored[n]
		if refs[d] == 1 && byID[d] {
			continue // the last name of what a container knows by its ID
		}
		refs[d]--
		names = append(names, n)
	}
	return names
}

// named takes the name that a container was made from out of prune, and reports
// whether it was made from an ID.
func (u Use) named(prune map[string]bool) (byID bool) {
	byID = strings.HasPrefix(u.ID, "sha256:"+strings.TrimPrefix(u.Name, "sha256:")) || strings.HasSuffix(u.Name, "@"+u.ID)
	ref, err := reference.ParseNormalizedNamed(u.Name)
	if err != nil {
		return byID
	}
	name := reference.TagNameOnly(ref)
	delete(prune, name.String())
	if tagged, ok := name.(reference.NamedTagged); ok { // name:tag@digest keeps name:tag
		delete(prune, tagged.Name()+":"+tagged.Tag())
	}
	return byID
}

// reclaimed lists what of removed images nothing else has: their manifests, and the
// bytes of their blobs and layers.
func (s *Store) reclaimed(ctx context.Context, going map[digest.Digest]*Image) (out []apiimage.DeleteResponse, size int64, err error) {
	keptBlobs, keptChains := map[digest.Digest]bool{}, map[string]bool{}
	for d, im := range s.index.Load().targets {
		blobs, err := s.contents(ctx, im.Target)
		if err != nil {
			return nil, 0, err
		}
		for _, b := range blobs {
			keptBlobs[b.Digest] = true
		}
		im.eachLayer(func(chain string, _ int64) { keptChains[chain] = true })
		delete(going, d)
	}
	for _, chain := range s.inUse() {
		s.below(ctx, chain, keptChains)
	}
	for _, d := range slices.Sorted(maps.Keys(going)) {
		blobs, err := s.contents(ctx, going[d].Target)
		if err != nil {
			return out, size, err
		}
		for _, b := range blobs {
			if keptBlobs[b.Digest] {
				continue
			}
			keptBlobs[b.Digest] = true // counted once
			size += b.Size
			if images.IsManifestType(b.MediaType) || images.IsIndexType(b.MediaType) {
				out = append(out, apiimage.DeleteResponse{Deleted: b.Digest.String()})
			}
		}
		going[d].eachLayer(func(chain string, n int64) {
			if !keptChains[chain] {
				keptChains[chain] = true
				size += n
			}
		})
	}
	return out, size, nil
}

// eachLayer calls f for the unpacked layers.
func (im *Image) eachLayer(f func(chain string, size int64)) {
	for i, n := range im.sizes {
		f(chainID(im.Config.RootFS.DiffIDs[:i+1]), n)
	}
}

// inUse are the chains that containers stand on.
func (s *Store) inUse() []string {
	chains := s.held()
	if s.pinned != nil {
		more, _ := s.pinned()
		chains = append(chains, more...)
	}
	return chains
}

// collectable tells whether it is known of all containers what they stand on. If it is
// not, nothing is collected, and no budget kept.
func (s *Store) collectable() bool {
	if s.pinned == nil {
		return true
	}
	_, whole := s.pinned()
	return whole
}

// below marks a chain and those it stands on.
func (s *Store) below(ctx context.Context, chain string, marked map[string]bool) {
	for chain != "" && !marked[chain] {
		marked[chain] = true
		info, err := s.snaps.Stat(ctx, chain)
		if err != nil {
			return
		}
		chain = info.Parent
	}
}
