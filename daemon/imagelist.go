package daemon

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	apiimage "github.com/moby/moby/api/types/image"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/server"
)

// List describes the images that pass the filters, newest first. Those without a name
// that another was committed on are shown with All only.
func (i images) List(ctx context.Context, o server.ImageListOptions) ([]apiimage.Summary, error) {
	all, err := i.store.List(ctx)
	if err != nil {
		return nil, err
	}
	f, err := i.filter(ctx, o.Filters)
	if err != nil {
		return nil, err
	}
	var shared map[string]int64
	if o.SharedSize {
		if shared, _, err = i.store.Sizes(ctx); err != nil {
			return nil, err
		}
	}
	parents := map[string]bool{}
	for _, img := range all {
		parents[img.Parent] = !o.All
	}
	l := []apiimage.Summary{}
	for _, img := range all {
		tags, digests, ok := f.passes(img)
		if !ok || parents[img.ID] && len(img.RepoTags) == 0 {
			continue
		}
		s := i.summary(img, tags, digests)
		if o.SharedSize {
			s.SharedSize = shared[img.ID]
		}
		if o.Manifests {
			if s.Manifests, err = i.manifests(ctx, img); err != nil {
				return nil, err
			}
		}
		l = append(l, s)
	}
	return l, nil
}

func (i images) summary(img *image.Image, tags, digests []string) apiimage.Summary {
	target := img.Target
	s := apiimage.Summary{
		ID: img.ID, ParentID: img.Parent, RepoTags: append([]string{}, tags...), RepoDigests: append([]string{}, digests...),
		Created: img.Created.Unix(), Size: img.Size, SharedSize: -1, Labels: img.Config.Config.Labels, Descriptor: &target,
	}
	if img.Config.Created == nil {
		s.Created = 0
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	ids, _ := i.containers.Users(img.ID)
	s.Containers = int64(len(ids))
	return s
}

// manifests describes an image's manifests and says which containers use them.
func (i images) manifests(ctx context.Context, img *image.Image) ([]apiimage.ManifestSummary, error) {
	l, err := i.store.Manifests(ctx, img)
	if err != nil {
		return nil, err
	}
	for n := range l {
		if data := l[n].ImageData; data != nil {
			ids, _ := i.containers.UsersOfManifest(l[n].ID)
			data.Containers = append(data.Containers, ids...)
		}
	}
	return l, nil
}

// imageFilter is docker's filters, resolved.
type imageFilter struct {
	f             filters.Filters
	dangling      *bool
	before, since time.Time // of the image's making
	until         time.Time // of its coming here
}

func (i images) filter(ctx context.Context, f filters.Filters) (*imageFilter, error) {
	r := &imageFilter{f: f}
	if f.Has("dangling") {
		b, err := f.Bool("dangling", false)
		if err != nil {
			return nil, err
		}
		r.dangling = &b
	}
	for _, b := range []struct {
		key string
		to  *time.Time
	}{{"before", &r.before}, {"since", &r.since}} {
		for _, ref := range f.Get(b.key) {
			img, err := i.store.Get(ctx, ref)
			if err != nil {
				return nil, err
			}
			*b.to = img.Created
		}
	}
	for _, u := range f.Get("until") {
		t, err := filters.ParseTime(u, time.Now())
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid value for 'until' filter: %w", err)
		}
		if r.until.IsZero() || t.Before(r.until) {
			r.until = t // all of them hold
		}
	}
	return r, nil
}

// passes also says which of the image's names the reference filter leaves.
func (r *imageFilter) passes(img *image.Image) (tags, digests []string, ok bool) {
	switch {
	case r.dangling != nil && *r.dangling != (len(img.RepoTags) == 0):
	case !r.before.IsZero() && !img.Created.Before(r.before):
	case !r.since.IsZero() && !img.Created.After(r.since):
	case !r.until.IsZero() && !img.LastTagTime.Before(r.until):
	case !r.labels(img.Config.Config.Labels):
	default:
		tags, digests = r.named(img.RepoTags), r.named(img.RepoDigests)
		return tags, digests, !r.f.Has("reference") || len(tags)+len(digests) > 0
	}
	return nil, nil, false
}

// labels checks label=key[=value], and label!=key[=value] for the opposite.
func (r *imageFilter) labels(have map[string]string) bool {
	for _, key := range []string{"label", "label!"} {
		for _, want := range r.f.Get(key) {
			name, value, withValue := strings.Cut(want, "=")
			name, flipped := strings.CutSuffix(name, "!")
			got, ok := have[name]
			if (ok && (!withValue || got == value)) == ((key == "label!") != flipped) {
				return false
			}
		}
	}
	return true
}

func (r *imageFilter) named(names []string) []string {
	if !r.f.Has("reference") {
		return names
	}
	var l []string
	for _, n := range names {
		if slices.ContainsFunc(r.f.Get("reference"), func(pattern string) bool { return matchesReference(pattern, n) }) {
			l = append(l, n)
		}
	}
	return l
}

// matchesReference matches docker's patterns against a name in its short and its
// whole form, with and without tag.
func matchesReference(pattern, name string) bool {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	for _, form := range []string{reference.FamiliarString(n), reference.FamiliarName(n), reference.TagNameOnly(n).String(), n.Name()} {
		if ok, _ := path.Match(pattern, form); ok {
			return true
		}
	}
	return false
}
