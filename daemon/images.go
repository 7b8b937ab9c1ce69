package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container"
	"hoy/image"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/server"
)

// images joins the image store with those who use images. It implements the
// server's Images.
type images struct {
	store      *image.Store
	containers *container.Containers
	bus        *container.Bus
}

func (i images) event(a events.Action, id, name string, labels map[string]string) {
	attributes := map[string]string{"name": name}
	for k, v := range labels {
		attributes[k] = v
	}
	i.bus.Publish(events.ImageEventType, a, id, attributes)
}

// List describes the images that pass the filters, newest first.
func (i images) List(ctx context.Context, o server.ImageListOptions) ([]apiimage.Summary, error) {
	all, err := i.store.List(ctx)
	if err != nil {
		return nil, err
	}
	f, err := newImageFilter(all, o.Filters)
	if err != nil {
		return nil, err
	}
	l := []apiimage.Summary{}
	for _, img := range all {
		if tags, digests, ok := f.passes(img); ok {
			l = append(l, i.summary(img, tags, digests, o.SharedSize))
		}
	}
	return l, nil
}

func (i images) summary(img *image.Image, tags, digests []string, shared bool) apiimage.Summary {
	target := img.Target
	s := apiimage.Summary{
		ID: img.ID, RepoTags: append([]string{}, tags...), RepoDigests: append([]string{}, digests...),
		Created: img.Created.Unix(), Size: img.Size, SharedSize: -1, Containers: -1,
		Labels: img.Config.Config.Labels, Descriptor: &target,
	}
	if shared {
		s.SharedSize = 0
	}
	if ids, _ := i.containers.Users(img.ID); ids != nil {
		s.Containers = int64(len(ids))
	}
	return s
}

// imageFilter is docker's filters, resolved.
type imageFilter struct {
	f             filters.Filters
	dangling      *bool
	before, since time.Time
}

func newImageFilter(all []*image.Image, f filters.Filters) (*imageFilter, error) {
	r := &imageFilter{f: f}
	if f.Has("dangling") {
		b, err := f.Bool("dangling", false)
		if err != nil {
			return nil, err
		}
		r.dangling = &b
	}
	find := func(ref string) (time.Time, error) {
		for _, img := range all {
			if slices.ContainsFunc(img.RepoTags, func(t string) bool { return t == ref || t == ref+":latest" }) || strings.HasPrefix(strings.TrimPrefix(img.ID, "sha256:"), strings.TrimPrefix(ref, "sha256:")) {
				return img.Created, nil
			}
		}
		return time.Time{}, fault.New(fault.NotFound, "No such image: %s", ref)
	}
	for _, b := range []struct {
		key string
		to  *time.Time
	}{{"before", &r.before}, {"since", &r.since}} {
		for _, ref := range f.Get(b.key) {
			t, err := find(ref)
			if err != nil {
				return nil, err
			}
			*b.to = t
		}
	}
	for _, u := range f.Get("until") {
		t, err := parseTime(u)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid filter 'until=%s': %w", u, err)
		}
		r.before = t
	}
	return r, nil
}

// parseTime reads a moment: RFC 3339, or how long ago.
func parseTime(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Parse(time.RFC3339, s)
}

// passes also says which of the image's names the reference filter leaves.
func (r *imageFilter) passes(img *image.Image) (tags, digests []string, ok bool) {
	switch {
	case r.dangling != nil && *r.dangling != (len(img.RepoTags) == 0):
	case !r.before.IsZero() && !img.Created.Before(r.before):
	case !r.since.IsZero() && !img.Created.After(r.since):
	case !r.f.MatchKVList("label", img.Config.Config.Labels):
	default:
		tags, digests = r.named(img.RepoTags), r.named(img.RepoDigests)
		return tags, digests, !r.f.Has("reference") || len(tags)+len(digests) > 0
	}
	return nil, nil, false
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

// matchesReference matches docker's patterns: against the whole name, or the
// repository alone.
func matchesReference(pattern, name string) bool {
	if ok, _ := path.Match(pattern, name); ok {
		return true
	}
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	ok, _ := path.Match(pattern, reference.FamiliarName(n))
	return ok
}

// Inspect describes one image.
func (i images) Inspect(ctx context.Context, ref string, platform *ocispec.Platform) (*apiimage.InspectResponse, error) {
	img, err := i.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	c := img.Config
	if platform != nil && (platform.OS != "" && platform.OS != c.OS || platform.Architecture != "" && platform.Architecture != c.Architecture) {
		return nil, fault.New(fault.NotFound, "image with reference %s was found but does not provide the specified platform (%s/%s)", ref, platform.OS, platform.Architecture)
	}
	target := img.Target
	r := &apiimage.InspectResponse{
		ID: img.ID, RepoTags: append([]string{}, img.RepoTags...), RepoDigests: append([]string{}, img.RepoDigests...),
		Author: c.Author, Config: &c.Config, Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, OsVersion: c.OSVersion,
		Size: img.Size, RootFS: apiimage.RootFS{Type: c.RootFS.Type}, Descriptor: &target,
		Metadata: apiimage.Metadata{LastTagTime: img.LastTagTime},
	}
	if !img.Created.IsZero() {
		r.Created = img.Created.UTC().Format(time.RFC3339Nano)
	}
	if n := len(c.History); n > 0 {
		r.Comment = c.History[n-1].Comment
	}
	for _, d := range c.RootFS.DiffIDs {
		r.RootFS.Layers = append(r.RootFS.Layers, d.String())
	}
	return r, nil
}

// Remove removes a name or an image.
func (i images) Remove(ctx context.Context, ref string, o server.ImageRemoveOptions) ([]apiimage.DeleteResponse, error) {
	if len(o.Platforms) > 0 {
		return nil, fault.New(fault.NotImplemented, "removing single platforms of an image is not built yet")
	}
	img, err := i.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	removed, err := i.store.Remove(ctx, ref, o.Force, func(id string) []image.User {
		var l []image.User
		ids, runs := i.containers.Users(id)
		for n := range ids {
			l = append(l, image.User{Container: ids[n], Running: runs[n]})
		}
		return l
	})
	for _, r := range removed {
		if r.Untagged != "" {
			i.event(events.ActionUnTag, img.ID, img.ID, nil)
		}
		if r.Deleted != "" {
			i.event(events.ActionDelete, r.Deleted, r.Deleted, nil)
		}
	}
	return removed, err
}

// Load brings in the images of an archive.
func (i images) Load(ctx context.Context, r io.Reader, o server.ImageLoadOptions, progress server.Progress) error {
	loaded, err := i.store.Load(ctx, r, o.Platforms...)
	for _, l := range loaded {
		progress(jsonstream.Message{Stream: l.String() + "\n"})
		i.event(events.ActionLoad, l.Image.ID, cmp.Or(l.Name, l.Image.ID), nil)
	}
	return explainLimit(err)
}

// explainLimit says who has set the limit that an archive is over.
func explainLimit(err error) error {
	if errors.Is(err, image.ErrTooLarge) {
		return fmt.Errorf("%w; the engine's flag --max-layer-size sets this limit", err)
	}
	return err
}

// Import makes an image of a root file system archive and returns its id.
func (i images) Import(ctx context.Context, r io.Reader, o server.ImageImportOptions) (string, error) {
	img, err := i.store.Import(ctx, r, image.ImportOptions{Ref: o.Ref, Message: o.Message, Changes: o.Changes, Platform: o.Platform})
	if err != nil {
		return "", explainLimit(err)
	}
	i.event(events.ActionImport, img.ID, cmp.Or(o.Ref, img.ID), img.Config.Config.Labels)
	return img.ID, nil
}

// Tag gives an image another name.
func (i images) Tag(ctx context.Context, ref, newRef string) error {
	if err := i.store.Tag(ctx, ref, newRef); err != nil {
		return err
	}
	if img, err := i.store.Get(ctx, newRef); err == nil {
		i.event(events.ActionTag, img.ID, newRef, img.Config.Config.Labels)
	}
	return nil
}
