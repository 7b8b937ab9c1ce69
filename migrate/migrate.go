// Package migrate takes over what a Docker engine has: images, volumes, containers.
// The side of Docker is only read.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/linux/tree"
)

// Source is the data root of a Docker engine, whose images are in its own store
// (overlay2) or in containerd's.
//
//	src, err := migrate.Open("/var/lib/docker", "")
//	err = migrate.Take(ctx, src, target, func(line string) { … })
type Source struct {
	root string
	store
}

// store is where a Docker engine keeps images and writable layers.
type store interface {
	// list names the images to be taken, by what Docker calls them.
	list() (map[string]string, error) // name → id
	// archive writes the images with these ids and names in a form that load takes.
	archive(w io.Writer, names map[string]string, ids []string) error
	// layer is the upper directory of a container.
	layer(containerID string) (string, error)
}

// Volume is a volume of Docker's local driver.
type Volume struct {
	Name            string
	Labels, Options map[string]string
	dir             string // its files
}

// Container is a container's definition.
type Container struct {
	ID, Name string // Name without slash
	ImageID  string
	Config   *apicontainer.Config
	Host     *apicontainer.HostConfig
	Running  bool
}

// damaged is a record of Docker's that cannot be read. Docker passes it over, too.
type damaged struct {
	kind, name string
	err        error
}

// Target is the engine that takes over.
type Target interface {
	Load(ctx context.Context, archive io.Reader) error
	// Image returns the name by which a container's image is known here, for a name and
	// an id that Docker had.
	Image(ctx context.Context, name, id string) (string, error)
	// Volume makes a volume, with the files that fill writes into its directory; nil: none.
	// Nobody sees it before that has returned.
	Volume(ctx context.Context, v Volume, fill func(dir *os.File) error) error
	// Container makes a container and returns its upper directory, and what ends the
	// making: with an error it is removed.
	Container(ctx context.Context, c Container) (upper string, done func(error) error, err error)
}

// errThere says that something of the same name is here already; it stays as it is.
var errThere = errors.New("there is one of this name already: left alone")

// ErrThere is what a Target answers for a name that is taken.
func ErrThere() error { return errThere }

// Take takes everything over, and says of each thing in one line what became of it.
// What cannot be taken over is told and left out; it is an error in the end. A second
// call takes what the first could not.
func Take(ctx context.Context, s *Source, t Target, say func(line string)) error {
	containers, damaged, err := s.containers()
	if err != nil {
		return err
	}
	failed := 0
	tell := func(kind, name string, err error) {
		switch {
		case err == nil:
			say(fmt.Sprintf("%s %s: taken over", kind, name))
		case errors.Is(err, errThere):
			say(fmt.Sprintf("%s %s: %v", kind, name, err))
		default:
			failed++
			say(fmt.Sprintf("%s %s: not taken over: %v", kind, name, err))
		}
	}
	if err := s.takeImages(ctx, t, containers, tell); err != nil {
		return err
	}
	volumes, more, err := s.volumes()
	if err != nil {
		return err
	}
	for _, d := range append(damaged, more...) {
		tell(d.kind, d.name, d.err)
	}
	for _, v := range volumes {
		tell("volume", v.Name, takeVolume(ctx, t, v))
	}
	for _, c := range containers {
		if c.Running {
			say(fmt.Sprintf("container %s runs in Docker: it is taken over as its files are now, and does not run here", c.Name))
		}
		tell("container", c.Name, s.takeContainer(ctx, t, c))
	}
	if failed > 0 {
		return fmt.Errorf("%d things could not be taken over", failed)
	}
	return ctx.Err()
}

// takeImages brings in one image after the other, so that one that is damaged keeps
// back no other.
func (s *Source) takeImages(ctx context.Context, t Target, containers []Container, tell func(kind, name string, err error)) error {
	names, err := s.list()
	if err != nil {
		return err
	}
	byID := map[string]map[string]string{}
	for name, id := range names {
		if byID[id] == nil {
			byID[id] = map[string]string{}
		}
		byID[id][name] = id
	}
	for _, c := range containers {
		if c.ImageID != "" && byID[c.ImageID] == nil {
			byID[c.ImageID] = map[string]string{}
		}
	}
	for id, its := range byID {
		label := id
		for name := range its {
			label = name
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		tell("image", label, s.takeImage(ctx, t, its, id))
	}
	return nil
}

func (s *Source) takeImage(ctx context.Context, t Target, names map[string]string, id string) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := s.archive(w, names, []string{id})
		w.CloseWithError(err)
		done <- err
	}()
	loadErr := t.Load(ctx, r)
	r.CloseWithError(errors.New("the archive was not read to its end"))
	if err := <-done; err != nil && loadErr != nil {
		return err // why the archive ended early
	}
	return loadErr
}

func takeVolume(ctx context.Context, t Target, v Volume) error {
	if v.dir == "" {
		return t.Volume(ctx, v, nil)
	}
	return t.Volume(ctx, v, func(dir *os.File) error { return copyTree(dir, v.dir, tree.Options{}) })
}

func (s *Source) takeContainer(ctx context.Context, t Target, c Container) error {
	from, err := s.layer(c.ID)
	if err != nil {
		return err
	}
	if c.Config.Image, err = t.Image(ctx, c.Config.Image, c.ImageID); err != nil {
		return err
	}
	upper, done, err := t.Container(ctx, c)
	if err != nil {
		return err
	}
	return done(func() error {
		to, err := os.Open(upper)
		if err != nil {
			return err
		}
		defer to.Close()
		return copyTree(to, from, tree.Options{Overlay: true})
	}())
}

func copyTree(to *os.File, from string, o tree.Options) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return tree.Copy(to, src, o)
}
