package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	containerdmount "github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
)

// mountRoot makes the step's root file system.
func (s *execution) mountRoot(ctx context.Context, root executor.Mount) error {
	m, err := s.resolve(ctx, root, true)
	if err != nil {
		return err
	}
	if s.root, err = s.detached(m); err == nil {
		s.rest.Add(func() { s.root.Close() })
	}
	return err
}

// resolve asks BuildKit for what a mount consists of, and keeps that until the end. alone
// says that nobody else has it meanwhile.
func (s *execution) resolve(ctx context.Context, m executor.Mount, alone bool) (containerdmount.Mount, error) {
	var none containerdmount.Mount
	if m.Src == nil {
		return none, fault.New(fault.Invalid, "mount %s has no source", m.Dest)
	}
	ref, err := m.Src.Mount(ctx, m.Readonly)
	if err != nil {
		return none, err
	}
	if v, ok := unshared(ref); ok && alone {
		ref = v
	}
	list, release, err := ref.Mount()
	if err != nil {
		return none, err
	}
	if release != nil {
		s.files.Add(func() {
			if err := release(); err != nil {
				s.e.o.Log.Warn("cannot release a mount of a build's step", "mount", m.Dest, "error", err)
			}
		})
	}
	if len(list) != 1 {
		return none, fmt.Errorf("mount %s consists of %d mounts where there can be one", m.Dest, len(list))
	}
	return list[0], nil
}

// detached makes a mount of the host's files: a bind or an overlay.
func (s *execution) detached(m containerdmount.Mount) (*os.File, error) {
	switch m.Type {
	case "bind", "rbind":
		return mount.Bind(m.Source, slices.Contains(m.Options, "rbind"))
	case "overlay":
		c := overlayOf(m)
		c.UserNS = s.userNS()
		return mount.Overlay(c)
	}
	return nil, fmt.Errorf("cannot mount a file system of the type %s", m.Type)
}

// overlayOf reads the options by which the snapshotter describes an overlay.
func overlayOf(m containerdmount.Mount) (c mount.OverlayConfig) {
	for _, o := range m.Options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "lowerdir":
			c.Lower = strings.Split(value, ":")
		case "upperdir":
			c.Upper = value
		case "workdir":
			c.Work = value
		case "volatile":
			c.Volatile = true
		case "ro":
			c.ReadOnly = true
		}
	}
	return c
}

// mounts makes the mounts that the step asks for.
func (s *execution) mounts(ctx context.Context, list []executor.Mount) ([]specs.Mount, error) {
	s.sources = map[string]*os.File{}
	var out []specs.Mount
	for _, m := range list {
		made, err := s.mount(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("cannot mount %s: %w", m.Dest, err)
		}
		out = append(out, made)
	}
	return out, nil
}

func (s *execution) mount(ctx context.Context, m executor.Mount) (specs.Mount, error) {
	at := path.Join("/", m.Dest)
	from, err := s.resolve(ctx, m, false)
	if err != nil {
		return specs.Mount{}, err
	}
	if from.Type == "tmpfs" {
		return specs.Mount{Destination: at, Type: "tmpfs", Source: "tmpfs", Options: from.Options}, nil
	}
	f, err := s.detached(from)
	if err == nil && path.Join("/", m.Selector) != "/" {
		f, err = part(f, m.Selector)
	}
	if err != nil {
		return specs.Mount{}, err
	}
	s.files.Add(func() { f.Close() })
	s.sources[at] = f
	options := []string{"rbind", "rprivate"}
	if m.Readonly || slices.Contains(from.Options, "ro") {
		options = append(options, "rro")
	}
	if s.userNS() != nil && from.Type != "overlay" { // an overlay's layers are mapped
		options = append(options, "ridmap")
	}
	return specs.Mount{Destination: at, Type: "bind", Source: from.Source, Options: options}, nil
}

// part is what is at a path below a mount, which it uses up.
func part(whole *os.File, at string) (*os.File, error) {
	defer whole.Close()
	// Links of the image lead within it, as its own programs follow them.
	f, err := mount.OpenIn(whole, at, unix.O_PATH)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", at, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sub, err := mount.BindFile(f, true)
	if errors.Is(err, unix.EINVAL) { // of a detached mount, before Linux 6.15
		return mount.Sub(whole, strings.TrimPrefix(path.Join("/", at), "/"))
	}
	return sub, err
}
