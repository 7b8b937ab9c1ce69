package image

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// index is what the store knows, read from the metadata once and never changed.
type index struct {
	names   map[string]*Image // stored name, and familiar forms: "docker.io/library/x:latest", "x:latest", "x"
	stored  map[string]digest.Digest
	targets map[digest.Digest]*Image
	sorted  []string // hexadecimal digests of targets
	list    []*Image // newest first
}

// refresh reads the metadata into a new index. Callers hold s.mu, except Open. changed
// are the targets of which content has come or gone.
func (s *Store) refresh(ctx context.Context, changed ...digest.Digest) error {
	all, err := s.images.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list images: %w", err)
	}
	byTarget := map[digest.Digest][]images.Image{}
	for _, i := range all {
		byTarget[i.Target.Digest] = append(byTarget[i.Target.Digest], i)
	}
	ix := &index{names: map[string]*Image{}, stored: map[string]digest.Digest{}, targets: map[digest.Digest]*Image{}}
	old := s.index.Load()
	for d, named := range byTarget {
		var im *Image
		if old != nil && old.targets[d] != nil && !slices.Contains(changed, d) && len(old.targets[d].Layers) > 0 {
			copied := *old.targets[d] // content never changes under a digest
			im = &copied
		} else if im, err = s.describe(ctx, named[0].Target); err != nil {
			slog.Warn("image is unreadable", "id", d, "error", err)
			im = &Image{ID: d.String(), Target: named[0].Target}
		}
		ix.add(im, named)
	}
	sort.Strings(ix.sorted)
	slices.SortFunc(ix.list, func(a, b *Image) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	s.index.Store(ix)
	return nil
}

func (ix *index) add(im *Image, named []images.Image) {
	im.RepoTags, im.RepoDigests, im.Parent = nil, nil, ""
	ix.targets[im.Target.Digest] = im
	ix.sorted = append(ix.sorted, im.Target.Digest.Encoded())
	ix.list = append(ix.list, im)
	slices.SortFunc(named, func(a, b images.Image) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range named {
		ix.stored[n.Name] = im.Target.Digest
		ix.names[n.Name] = im
		im.Parent = cmp.Or(n.Labels[labelParent], im.Parent)
		if n.UpdatedAt.After(im.LastTagTime) {
			im.LastTagTime = n.UpdatedAt
		}
		if isDangling(n.Name) {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(n.Name)
		if err != nil {
			im.RepoTags = append(im.RepoTags, n.Name)
			continue
		}
		fam := reference.FamiliarString(ref)
		ix.names[fam] = im
		if _, digested := ref.(reference.Digested); digested {
			im.RepoDigests = append(im.RepoDigests, fam) // pulled by its digest
			continue
		}
		if short, ok := strings.CutSuffix(fam, ":latest"); ok {
			ix.names[short] = im
		}
		im.RepoTags = append(im.RepoTags, fam)
		if digested, err := reference.WithDigest(reference.TrimNamed(ref), im.Target.Digest); err == nil {
			im.RepoDigests = append(im.RepoDigests, reference.FamiliarString(digested))
		}
	}
	slices.Sort(im.RepoDigests)
	im.RepoDigests = slices.Compact(im.RepoDigests)
}

// find resolves a reference as docker does: a name first, then an ID.
func (ix *index) find(ref string) (*Image, error) {
	if im := ix.names[ref]; im != nil {
		return im, nil
	}
	r, err := parse(ref)
	if err != nil {
		return nil, err
	}
	if d, ok := r.(reference.Digested); ok {
		im := ix.targets[d.Digest()]
		if named, ok := r.(reference.Named); im == nil || ok && !im.isOf(named) {
			return nil, notFound(r)
		}
		return im, nil
	}
	if im := ix.names[reference.TagNameOnly(r.(reference.Named)).String()]; im != nil {
		return im, nil
	}
	return ix.byPrefix(ref, r)
}

func (ix *index) byPrefix(ref string, r reference.Reference) (*Image, error) {
	id, ok := shortID(ref)
	if !ok {
		return nil, notFound(r)
	}
	i := sort.SearchStrings(ix.sorted, id)
	if i == len(ix.sorted) || !strings.HasPrefix(ix.sorted[i], id) {
		return nil, notFound(r)
	}
	if i+1 < len(ix.sorted) && strings.HasPrefix(ix.sorted[i+1], id) {
		return nil, fault.New(fault.NotFound, "%w", errAmbiguous)
	}
	return ix.targets[digest.NewDigestFromEncoded(digest.SHA256, ix.sorted[i])], nil
}

// isOf reports whether one of the image's names is of this repository.
func (im *Image) isOf(named reference.Named) bool {
	for _, t := range im.RepoDigests {
		if n, err := reference.ParseNormalizedNamed(t); err == nil && n.Name() == named.Name() {
			return true
		}
	}
	return false
}

// Get finds an image by name, name@digest, ID or unique beginning of an ID. It
// answers from memory.
func (s *Store) Get(ctx context.Context, ref string) (*Image, error) {
	return s.index.Load().find(ref)
}

// Hold is GetPlatform, and keeps the image's layers on disk until release is called:
// long enough for a container's record to pin them. Layers that are not unpacked
// yet, as of a platform that nobody has asked for before, are unpacked first.
func (s *Store) Hold(ctx context.Context, ref string, p *ocispec.Platform) (img *Image, release func(), err error) {
	im, err := s.demand(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	other := p != nil && !platforms.NewMatcher(*p).Match(platforms.Normalize(im.Config.Platform))
	if other || len(im.Layers) < len(im.Config.RootFS.DiffIDs) {
		return s.holdOther(ctx, ref, p)
	}
	release = s.hold(im.ChainID)
	// It may have been removed between the two lines above, and collected.
	if s.index.Load().targets[im.Target.Digest] == nil {
		release()
		return nil, nil, fault.New(fault.NotFound, "No such image: %s", ref)
	}
	s.usedImage(im)
	return im, release, nil
}

// List returns all images, newest first.
func (s *Store) List(ctx context.Context) ([]*Image, error) {
	return slices.Clone(s.index.Load().list), nil
}
