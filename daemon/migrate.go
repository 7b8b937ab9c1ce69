package daemon

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"github.com/moby/moby/api/types/jsonstream"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/migrate"
	"hoy/server"
	"hoy/snapshot"
	"hoy/volume"
)

// migration takes over what a Docker engine on this machine has. It implements the
// server's Migration and the target of package migrate.
type migration struct {
	images     images
	volumes    *volume.Store
	containers *container.Containers
	layers     *snapshot.Layers
}

// Docker takes over what is in a data root of Docker.
func (m migration) Docker(ctx context.Context, root, containerd string, say server.Progress) error {
	src, err := migrate.Open(root, containerd)
	if err != nil {
		return err
	}
	return migrate.Take(ctx, src, m, func(line string) { say(jsonstream.Message{Stream: line + "\n"}) })
}

// Load brings in images.
func (m migration) Load(ctx context.Context, archive io.Reader) error {
	return m.images.Load(ctx, archive, server.ImageLoadOptions{Quiet: true}, func(jsonstream.Message) {})
}

// Image finds an image by the id that it had in Docker, that of its configuration or of
// its manifest. Its name stays with the container if that still means it.
func (m migration) Image(ctx context.Context, name, id string) (string, error) {
	all, err := m.images.store.List(ctx)
	if err != nil {
		return "", err
	}
	for _, img := range all {
		if id != img.ID && id != img.Target.Digest.String() && id != img.ConfigDigest.String() && id != img.Manifest.Digest.String() {
			continue
		}
		if same, err := m.images.store.Get(ctx, name); err == nil && same.ID == img.ID && name != "" {
			return name, nil
		}
		return img.ID, nil
	}
	return "", fault.New(fault.NotFound, "its image %s was not taken over", cmp.Or(name, id))
}

// Volume makes a volume. An engine that is killed meanwhile leaves none, which would be
// taken for whole the next time.
func (m migration) Volume(_ context.Context, v migrate.Volume, fill func(dir *os.File) error) error {
	if _, err := m.volumes.Get(v.Name); err == nil {
		return migrate.ErrThere()
	}
	r := volume.Request{Name: v.Name, Options: v.Options, Labels: v.Labels}
	if fill == nil {
		_, err := m.volumes.Create(r)
		return err
	}
	_, err := m.volumes.Make(r, fill)
	return err
}

// half is behind the name of a container whose files are being copied. One that an engine
// has left when it was killed is made anew.
const half = ".half-migrated"

// Container makes a container, which gets its name when it is whole.
func (m migration) Container(ctx context.Context, c migrate.Container) (string, func(error) error, error) {
	if _, err := m.containers.Inspect(ctx, c.Name, false); err == nil {
		return "", nil, migrate.ErrThere()
	}
	remove := func(ref string) error {
		return m.containers.Remove(context.WithoutCancel(ctx), ref, container.RemoveOptions{Force: true})
	}
	if err := remove(c.Name + half); err != nil && !fault.Is(err, fault.NotFound) {
		return "", nil, err
	}
	made, err := m.containers.Create(ctx, container.CreateRequest{Name: c.Name + half, Config: c.Config, HostConfig: c.Host})
	if err != nil {
		return "", nil, err
	}
	return m.layers.Get(made.ID).Upper(), func(err error) error {
		if err == nil {
			err = m.containers.Rename(ctx, made.ID, c.Name)
		}
		if err == nil {
			return nil
		}
		return errors.Join(err, remove(made.ID))
	}, nil
}
