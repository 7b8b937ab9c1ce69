package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"

	"hoy/container"
	"hoy/image"
	"hoy/registry"
	"hoy/server"
	"hoy/signature"
)

// images joins the image store with those who use images. It implements the
// server's Images.
type images struct {
	store      *image.Store
	containers *container.Containers
	bus        *container.Bus
	pruning    *sync.Mutex             // one prune at a time
	registries func() *registry.Client // by the present options
	signatures func() *signature.Policy
}

func (i images) event(a events.Action, id, name string, labels map[string]string) {
	attributes := map[string]string{"name": name}
	for k, v := range labels {
		attributes[k] = v
	}
	i.bus.Publish(events.ImageEventType, a, id, attributes)
}

// Inspect describes one image.
func (i images) Inspect(ctx context.Context, ref string, o server.ImageInspectOptions) (*server.ImageDetails, error) {
	img, err := i.store.GetPlatform(ctx, ref, o.Platform)
	if err != nil {
		return nil, err
	}
	c, target := img.Config, img.Target
	if o.Platform != nil {
		target = img.Manifest
	}
	r := &server.ImageDetails{Parent: img.Parent, InspectResponse: apiimage.InspectResponse{
		ID: target.Digest.String(), RepoTags: append([]string{}, img.RepoTags...), RepoDigests: append([]string{}, img.RepoDigests...),
		Author: c.Author, Config: &c.Config, Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, OsVersion: c.OSVersion,
		Size: img.Size, RootFS: apiimage.RootFS{Type: c.RootFS.Type}, Descriptor: &target,
		Metadata: apiimage.Metadata{LastTagTime: img.LastTagTime},
	}}
	if c.Created != nil { // even if it is the zero time, which builders without a clock write
		r.Created = c.Created.UTC().Format(time.RFC3339Nano)
	}
	if n := len(c.History); n > 0 {
		r.Comment = c.History[n-1].Comment
	}
	for _, d := range c.RootFS.DiffIDs {
		r.RootFS.Layers = append(r.RootFS.Layers, d.String())
	}
	if o.Manifests {
		r.Manifests, err = i.manifests(ctx, img)
	}
	return r, err
}

// Remove removes a name or an image.
func (i images) Remove(ctx context.Context, ref string, o server.ImageRemoveOptions) ([]apiimage.DeleteResponse, error) {
	img, err := i.store.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if len(o.Platforms) > 0 {
		return i.store.RemovePlatforms(ctx, ref, o.Platforms, o.Force, func(manifest string) []image.User {
			return users(i.containers.UsersOfManifest(manifest))
		})
	}
	using := func(id string) []image.User { return users(i.containers.Users(id)) }
	removed, err := i.store.Remove(ctx, ref, o.Force, using)
	if n := len(removed); err == nil && o.PruneChildren && n > 0 && removed[n-1].Deleted != "" {
		var above []apiimage.DeleteResponse
		above, err = i.store.RemoveOrphans(ctx, img.Parent, using)
		removed = append(removed, above...)
	}
	for _, r := range removed {
		if r.Untagged != "" {
			i.event(events.ActionUnTag, img.ID, r.Untagged, nil)
		}
		if r.Deleted != "" {
			i.event(events.ActionDelete, r.Deleted, r.Deleted, nil)
		}
	}
	return removed, err
}

func users(ids []string, runs []bool) (l []image.User) {
	for n := range ids {
		l = append(l, image.User{Container: ids[n], Running: runs[n]})
	}
	return l
}

// Load brings in the images of an archive.
func (i images) Load(ctx context.Context, r io.Reader, o server.ImageLoadOptions, progress server.Progress) error {
	loaded, err := i.store.Load(ctx, r, o.Platforms...)
	for _, l := range loaded {
		progress(jsonstream.Message{Stream: l.String() + "\n"})
		i.event(events.ActionLoad, l.Image.ID, l.Image.ID, l.Image.Config.Config.Labels)
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
	i.event(events.ActionImport, img.ID, img.ID, img.Config.Config.Labels)
	if o.Ref != "" {
		i.tagged(ctx, o.Ref)
	}
	return img.ID, nil
}

// Tag gives an image another name.
func (i images) Tag(ctx context.Context, ref, newRef string) error {
	if err := i.store.Tag(ctx, ref, newRef); err != nil {
		return err
	}
	i.tagged(ctx, newRef)
	return nil
}

// tagged publishes that an image has got a name.
func (i images) tagged(ctx context.Context, ref string) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return
	}
	if img, err := i.store.Get(ctx, ref); err == nil {
		i.event(events.ActionTag, img.ID, reference.FamiliarString(reference.TagNameOnly(named)), img.Config.Config.Labels)
	}
}
