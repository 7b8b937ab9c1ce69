package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	apivolume "github.com/moby/moby/api/types/volume"

	"hoy/container"
	"hoy/image/extract"
	"hoy/image/pack"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/volume"
)

// volumes implements the server's Volumes.
type volumes struct {
	store *volume.Store
	bus   *container.Bus

	strangers func() []string // containers of which nobody knows what they mount
}

// Create makes a volume.
func (v volumes) Create(ctx context.Context, r apivolume.CreateRequest) (*apivolume.Volume, error) {
	return v.made(v.store.Create(volume.Request{Name: r.Name, Driver: r.Driver, Options: r.DriverOpts, Labels: r.Labels}))
}

// List describes the volumes that pass the filters.
func (v volumes) List(ctx context.Context, f filters.Filters) (apivolume.ListResponse, error) {
	dangling, err := f.Bool("dangling", false)
	if err != nil {
		return apivolume.ListResponse{}, err
	}
	l := apivolume.ListResponse{Volumes: []apivolume.Volume{}}
	for _, one := range v.store.List() {
		switch {
		case f.Has("dangling") && dangling != (len(one.Users) == 0):
		case !f.FuzzyMatch("name", one.Name), !f.ExactMatch("driver", one.Driver), !f.MatchKVList("label", one.Labels):
		default:
			l.Volumes = append(l.Volumes, *shownVolume(one))
		}
	}
	return l, nil
}

// Inspect describes one volume.
func (v volumes) Inspect(ctx context.Context, name string) (*apivolume.Volume, error) {
	one, err := v.store.Get(name)
	if err != nil {
		return nil, err
	}
	return shownVolume(one), nil
}

// Remove removes a volume that no container refers to.
func (v volumes) Remove(ctx context.Context, name string, force bool) error {
	one, err := v.store.Get(name)
	if fault.Is(err, fault.NotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	if len(one.Users) > 0 {
		return fault.New(fault.Conflict, "remove %s: volume is in use - [%s]", name, strings.Join(one.Users, ", "))
	}
	if err := v.store.Remove(name, force); err != nil {
		return err
	}
	v.bus.Publish(events.VolumeEventType, events.ActionDestroy, name, map[string]string{"driver": one.Driver})
	return nil
}

// Clone makes a volume with the files of another.
func (v volumes) Clone(ctx context.Context, name string, r apivolume.CreateRequest) (*apivolume.Volume, error) {
	made, err := v.store.Clone(name, volume.Request{Name: r.Name, Driver: r.Driver, Options: r.DriverOpts, Labels: r.Labels})
	return v.made(made, err)
}

// Rename gives a volume that no container refers to another name.
func (v volumes) Rename(ctx context.Context, name, to string) error {
	made, err := v.store.Rename(name, to)
	if err != nil {
		return err
	}
	v.bus.Publish(events.VolumeEventType, events.ActionRename, to, map[string]string{"driver": made.Driver, "oldName": name})
	return nil
}

// Export packs a volume's files.
func (v volumes) Export(ctx context.Context, name string, w io.Writer) error {
	return v.store.Read(name, func(dir *os.File) error {
		if err := pack.Tree(ctx, w, dir, pack.Options{Name: "."}); err != nil {
			return fmt.Errorf("cannot export volume %s: %w", name, err)
		}
		return nil
	})
}

// Import makes a volume of an archive, which may be compressed.
func (v volumes) Import(ctx context.Context, r apivolume.CreateRequest, archive io.Reader) (*apivolume.Volume, error) {
	made, err := v.store.Make(volume.Request{Name: r.Name, Driver: r.Driver, Options: r.DriverOpts, Labels: r.Labels}, func(dir *os.File) error {
		plain, _, err := extract.Decompress(archive)
		if err == nil {
			defer plain.Close()
			err = extract.Into(ctx, dir, plain, extract.IntoOptions{Whole: true})
		}
		if err != nil {
			return fmt.Errorf("cannot import volume %s: %w", r.Name, err)
		}
		return nil
	})
	return v.made(made, err)
}

func (v volumes) made(made *volume.Volume, err error) (*apivolume.Volume, error) {
	if err != nil {
		return nil, err
	}
	if made.New {
		v.bus.Publish(events.VolumeEventType, events.ActionCreate, made.Name, map[string]string{"driver": made.Driver})
	}
	return shownVolume(made), nil
}

func shownVolume(v *volume.Volume) *apivolume.Volume {
	return &apivolume.Volume{
		Name: v.Name, Driver: v.Driver, Labels: v.Labels, Options: v.Options, Mountpoint: v.Mountpoint,
		Scope: "local", CreatedAt: v.CreatedAt.Format(time.RFC3339),
	}
}
