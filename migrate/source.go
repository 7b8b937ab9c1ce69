package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"go.etcd.io/bbolt"

	"hoy/lib/fault"
)

// Open finds out how the engine of root keeps its images. containerd is the root of the
// containerd that it uses; "": its own below root, or the machine's.
func Open(root, containerd string) (*Source, error) {
	if _, err := os.Stat(filepath.Join(root, "containers")); err != nil {
		return nil, fault.New(fault.NotFound, "%s is no data root of Docker: %w", root, err)
	}
	s := &Source{root: root}
	if dir := filepath.Join(root, "image", "overlay2"); isDir(dir) && containerd == "" && !emptyStore(dir) {
		s.store = &overlay2{root: root}
		return s, nil
	}
	for _, dir := range []string{containerd, filepath.Join(root, "containerd", "daemon"), "/var/lib/containerd"} {
		if dir != "" && isDir(filepath.Join(dir, "io.containerd.content.v1.content")) {
			s.store = &containerdStore{root: dir}
			return s, nil
		}
	}
	return nil, fault.New(fault.NotFound, "%s has neither images of the overlay2 driver nor a containerd beside it: --containerd-root says where that is", root)
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// emptyStore tells whether Docker's own image store has nothing, as where an engine
// has changed to containerd's.
func emptyStore(dir string) bool {
	entries, _ := os.ReadDir(filepath.Join(dir, "imagedb", "content", "sha256"))
	return len(entries) == 0
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

// readDB opens a copy of a bbolt file, whose own lock its engine may hold.
func readDB(path string, read func(*bbolt.Tx) error) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp("", "migrate")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	db, err := bbolt.Open(out.Name(), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer db.Close()
	return db.View(read)
}

// volumes lists the volumes of the local driver.
func (s *Source) volumes() (vs []Volume, bad []damaged, err error) {
	dir := filepath.Join(s.root, "volumes")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	labels := map[string]map[string]string{}
	err = readDB(filepath.Join(dir, "metadata.db"), func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("volumes"))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			var m struct{ Labels map[string]string }
			if json.Unmarshal(v, &m) == nil {
				labels[string(k)] = m.Labels
			}
			return nil
		})
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		data := filepath.Join(dir, e.Name(), "_data")
		if !e.IsDir() || !isDir(data) {
			continue
		}
		v := Volume{Name: e.Name(), Labels: labels[e.Name()], dir: data}
		if v.Options, err = volumeOptions(filepath.Join(dir, e.Name(), "opts.json")); err != nil {
			bad = append(bad, damaged{"volume", v.Name, err})
			continue
		}
		if v.Options["device"] != "" {
			v.dir = "" // what is mounted there is not in Docker's root
		}
		vs = append(vs, v)
	}
	return vs, bad, nil
}

// volumeOptions reads the options of Docker's local driver.
func volumeOptions(path string) (map[string]string, error) {
	var o struct {
		MountType, MountOpts, MountDevice string
		Quota                             struct{ Size uint64 }
	}
	err := readJSON(path, &o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m := map[string]string{}
	for k, v := range map[string]string{"type": o.MountType, "o": o.MountOpts, "device": o.MountDevice} {
		if v != "" {
			m[k] = v
		}
	}
	if o.Quota.Size > 0 {
		m["size"] = fmt.Sprint(o.Quota.Size)
	}
	return m, err
}

// definition is what is read of config.v2.json.
type definition struct {
	ID, Name, Image string
	Config          *apicontainer.Config
	State           struct{ Running bool }
	MountPoints     map[string]struct {
		Type              mount.Type
		Name, Destination string
		RW                bool
	}
}

// containers lists the containers, the oldest definitions too.
func (s *Source) containers() (cs []Container, bad []damaged, err error) {
	definitions, err := filepath.Glob(filepath.Join(s.root, "containers", "*", "config.v2.json"))
	if err != nil {
		return nil, nil, err
	}
	for _, path := range definitions {
		c, err := readContainer(path)
		if err != nil {
			bad = append(bad, damaged{"container", filepath.Base(filepath.Dir(path)), err})
			continue
		}
		cs = append(cs, c)
	}
	return cs, bad, nil
}

func readContainer(path string) (c Container, err error) {
	var d definition
	if err := readJSON(path, &d); err != nil {
		return c, err
	}
	host := &apicontainer.HostConfig{}
	// Docker takes one that has none, too.
	if err := readJSON(filepath.Join(filepath.Dir(path), "hostconfig.json"), host); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if d.Config == nil || d.ID == "" {
		return c, fault.New(fault.Invalid, "cannot read %s: it is incomplete", path)
	}
	d.keepVolumes(host)
	forget(d.Config, host, d.ID)
	return Container{ID: d.ID, Name: strings.TrimPrefix(d.Name, "/"), ImageID: d.Image, Config: d.Config, Host: host, Running: d.State.Running}, nil
}

// keepVolumes binds the volumes that the container has by the names they have: those
// made without a name would be made anew.
func (d *definition) keepVolumes(h *apicontainer.HostConfig) {
	for _, m := range d.MountPoints {
		if m.Type != mount.TypeVolume || m.Name == "" || named(h, m.Destination) {
			continue
		}
		h.Mounts = slices.DeleteFunc(h.Mounts, func(o mount.Mount) bool { return o.Target == m.Destination })
		bind := m.Name + ":" + m.Destination
		if !m.RW {
			bind += ":ro"
		}
		h.Binds = append(h.Binds, bind)
	}
}

// named tells whether something with a name is asked for at this place already.
func named(h *apicontainer.HostConfig, target string) bool {
	return slices.ContainsFunc(h.Binds, func(b string) bool { p := strings.Split(b, ":"); return len(p) > 1 && p[1] == target }) ||
		slices.ContainsFunc(h.Mounts, func(m mount.Mount) bool { return m.Target == target && m.Source != "" })
}

// forget drops what Docker filled in and was not asked for.
func forget(c *apicontainer.Config, h *apicontainer.HostConfig, id string) {
	if c.Hostname == id[:min(12, len(id))] {
		c.Hostname = ""
	}
	h.ContainerIDFile = ""
}
