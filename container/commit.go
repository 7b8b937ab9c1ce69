package container

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"hoy/image"
	"hoy/image/pack"
)

// CommitRequest is an image to be made of a container.
type CommitRequest struct {
	Container string
	Ref       string // name[:tag]; "": a dangling image
	Author    string
	Comment   string
	Pause     bool                 // freeze the container while its files are read
	Config    *apicontainer.Config // nil: the container's
	Changes   []string             // Dockerfile instructions, applied to Config
}

// Commit makes an image of a container's image and what the container has changed,
// without volumes and binds, and returns its ID.
func (c *Containers) Commit(ctx context.Context, r CommitRequest) (string, error) {
	k, err := c.index.get(r.Container)
	if err != nil {
		return "", err
	}
	if err := c.complete(k, "commit"); err != nil {
		return "", err
	}
	rec := k.rec()
	o := image.CommitOptions{
		Ref: r.Ref, Author: r.Author, Comment: r.Comment,
		Parent: rec.Image.ID, Manifest: rec.Image.Manifest, CreatedBy: strings.Join(rec.Config.Cmd, " "),
	}
	if o.Config, err = commitConfig(rec.Config, r); err != nil {
		return "", err
	}
	if r.Pause {
		resume, err := c.hold(ctx, k)
		if err != nil {
			return "", err
		}
		defer resume()
	}
	if o.Layer, err = c.changed(ctx, rec); err != nil {
		return "", err
	}
	img, err := c.o.Images.Commit(ctx, o)
	if err != nil {
		return "", err
	}
	name := familiar(r.Ref)
	c.committed(img, name)
	c.event(k, events.ActionCommit, "comment", r.Comment, "imageID", img.ID, "imageRef", name)
	return img.ID, nil
}

// familiar is how docker shows a name: with a tag, without what is understood.
func familiar(ref string) string {
	n, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(n))
}

// committed publishes that there is a new image.
func (c *Containers) committed(img *image.Image, ref string) {
	publish := func(a events.Action, name string) {
		attributes := unite(map[string]string{"name": name}, img.Config.Config.Labels)
		c.o.Events.Publish(events.ImageEventType, a, img.ID, attributes)
	}
	publish(events.ActionCreate, img.ID)
	if ref != "" {
		publish(events.ActionTag, ref)
	}
}

// changed returns what packs a container's changes, nil when there are none.
func (c *Containers) changed(ctx context.Context, rec *record) (func(context.Context, io.Writer) error, error) {
	layer := c.o.Layers.Get(rec.ID)
	changes, err := layer.Changes(ctx, rec.Image.Layers)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	return func(ctx context.Context, w io.Writer) error {
		dir, err := os.OpenFile(layer.Upper(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("cannot read the changes: %w", err)
		}
		defer dir.Close()
		// The root directory's own owner and mode belong to the image.
		return pack.Tree(ctx, w, dir, pack.Options{Name: ".", Layer: true})
	}, nil
}

// hold pauses a container that runs, and returns what lets it go on. An engine that
// dies in between leaves a mark, by which the next one knows that nobody else has
// paused it.
func (c *Containers) hold(ctx context.Context, k *Container) (resume func(), err error) {
	nothing := func() {}
	if rec := k.rec(); !rec.isRunning() || rec.isPaused() {
		return nothing, nil
	}
	mark := c.commitMark(k.id)
	if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
		return nil, fmt.Errorf("cannot pause container %s: %w", k.id, err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return nil, fmt.Errorf("cannot pause container %s: %w", k.id, err)
	}
	if err := c.Pause(ctx, k.id); err != nil {
		os.Remove(mark)
		return nothing, nil // ended, or paused, since: docker goes on as well
	}
	return func() {
		// Behind an unpause of somebody's own there is nothing to be done.
		c.Unpause(context.WithoutCancel(ctx), k.id)
		os.Remove(mark)
	}, nil
}

func (c *Containers) commitMark(id string) string {
	return filepath.Join(c.o.ExecRoot, "commits", id)
}

// resumeCommitted lets a container go on that an earlier engine has paused for a
// commit which it did not finish.
func (c *Containers) resumeCommitted(k *Container) {
	if os.Remove(c.commitMark(k.id)) != nil {
		return // no mark: whoever has paused it wants it so
	}
	if err := k.process.cgroup.Thaw(); err != nil {
		c.log.Error("cannot let a container go on that was paused for a commit", "container", k.id, "error", err)
	}
}

// commitConfig is the image's configuration: the request's, or the container's, with
// the changes, completed by the container's.
func commitConfig(own *apicontainer.Config, r CommitRequest) (dockerspec.DockerOCIImageConfig, error) {
	base := imageConfig(own)
	from := base
	if r.Config != nil {
		from = imageConfig(r.Config)
		from.Env = mergeEnv(from.Env, base.Env) // which ENV PATH=/more:$PATH refers to
	}
	config, err := image.ChangesOn(from, r.Changes)
	if err != nil {
		return config, err
	}
	complete(&config, base)
	return config, nil
}

// complete adds to c what base has besides.
func complete(c *dockerspec.DockerOCIImageConfig, base dockerspec.DockerOCIImageConfig) {
	c.User, c.WorkingDir, c.StopSignal = first(c.User, base.User), first(c.WorkingDir, base.WorkingDir), first(c.StopSignal, base.StopSignal)
	c.Env = mergeEnv(c.Env, base.Env)
	c.ExposedPorts = orNil(unite(c.ExposedPorts, base.ExposedPorts))
	c.Volumes = orNil(unite(c.Volumes, base.Volumes))
	c.Labels = orNil(unite(c.Labels, base.Labels))
	if len(c.Entrypoint) == 0 {
		if len(c.Cmd) == 0 {
			c.Cmd = base.Cmd
		}
		if c.Entrypoint == nil {
			c.Entrypoint = base.Entrypoint
		}
	}
	if c.Healthcheck == nil {
		c.Healthcheck = base.Healthcheck
	} else if base.Healthcheck != nil {
		mergeHealth(c.Healthcheck, base.Healthcheck)
	}
}

func orNil[M ~map[K]V, K comparable, V any](m M) M {
	if len(m) == 0 {
		return nil
	}
	return m
}

// imageConfig is the part of a container's configuration that images have. It shares
// nothing with it that changes would change.
func imageConfig(c *apicontainer.Config) dockerspec.DockerOCIImageConfig {
	var i dockerspec.DockerOCIImageConfig
	i.User, i.WorkingDir, i.StopSignal = c.User, c.WorkingDir, c.StopSignal
	i.Env, i.Cmd, i.Entrypoint = slices.Clone(c.Env), slices.Clone(c.Cmd), slices.Clone(c.Entrypoint)
	i.Volumes, i.Labels = maps.Clone(c.Volumes), maps.Clone(c.Labels)
	i.OnBuild, i.Shell = slices.Clone(c.OnBuild), slices.Clone(c.Shell)
	for p := range c.ExposedPorts {
		if i.ExposedPorts == nil {
			i.ExposedPorts = map[string]struct{}{}
		}
		i.ExposedPorts[p.String()] = struct{}{}
	}
	if h := c.Healthcheck; h != nil {
		copied := *h
		i.Healthcheck = &copied
	}
	return i
}
