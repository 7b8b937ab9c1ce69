package cdi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is one description: a vendor's devices of one class (CDI specification, 1.1).
type file struct {
	Version     string            `json:"cdiVersion"`
	Kind        string            `json:"kind"`
	Annotations map[string]string `json:"annotations"`
	Devices     []struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
		Edits       Edits             `json:"containerEdits"`
	} `json:"devices"`
	Edits Edits `json:"containerEdits"` // with whichever of the devices
}

// Edits are what a device changes of a container.
type Edits struct {
	Env         []string        `json:"env"`
	DeviceNodes []DeviceNode    `json:"deviceNodes"`
	NetDevices  []any           `json:"netDevices"`
	Hooks       []Hook          `json:"hooks"`
	Mounts      []Mount         `json:"mounts"`
	IntelRdt    json.RawMessage `json:"intelRdt"`
	Groups      []uint32        `json:"additionalGids"`
}

// DeviceNode is a node to be made. What it does not say is that of the host's.
type DeviceNode struct {
	Path        string       `json:"path"`
	HostPath    string       `json:"hostPath"` // "": Path
	Type        string       `json:"type"`
	Major       int64        `json:"major"`
	Minor       int64        `json:"minor"`
	FileMode    *os.FileMode `json:"fileMode"`
	Permissions string       `json:"permissions"` // letters of "rwm"
	UID         *uint32      `json:"uid"`
	GID         *uint32      `json:"gid"`
}

// Mount is a file system to be mounted.
type Mount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Type          string   `json:"type"`
	Options       []string `json:"options"`
}

// Hook is a program of the host to be run.
type Hook struct {
	Name    string   `json:"hookName"`
	Path    string   `json:"path"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Timeout *int     `json:"timeout"`
}

// largest bounds a description: nobody writes one of more than a megabyte.
const largest = 1 << 20

func readFile(path string) (*file, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > largest {
		return nil, errors.New("it is no file, or one of more than a megabyte")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(b, filepath.Ext(path) != ".json")
}

// parse reads a description. Names that the specification does not have are errors: a
// part of a device that nobody understands is not left out in silence.
func parse(b []byte, isYAML bool) (*file, error) {
	if isYAML {
		var v any
		if err := yaml.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		var err error
		if b, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f file
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	return &f, f.check()
}

var (
	kinds   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?/[a-zA-Z]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$`)
	devices = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_.:-]*[a-zA-Z0-9])?$`)
)

func (f *file) check() error {
	switch {
	case !strings.HasPrefix(f.Version, "0.") && !strings.HasPrefix(f.Version, "1."):
		return fmt.Errorf("version %q of CDI is not known", f.Version)
	case !kinds.MatchString(f.Kind):
		return fmt.Errorf("invalid kind %q: it is vendor.com/class", f.Kind)
	case len(f.Devices) == 0:
		return errors.New("it describes no device")
	}
	var names []string
	for _, d := range f.Devices {
		if !devices.MatchString(d.Name) || slices.Contains(names, d.Name) {
			return fmt.Errorf("invalid or repeated device name %q", d.Name)
		}
		names = append(names, d.Name)
		if err := d.Edits.check(); err != nil {
			return fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return f.Edits.check()
}

func (e *Edits) check() error {
	for _, env := range e.Env {
		if name, _, ok := strings.Cut(env, "="); !ok || name == "" || strings.Contains(env, "\x00") {
			return fmt.Errorf("invalid environment variable %q", env)
		}
	}
	for _, n := range e.DeviceNodes {
		known := slices.Contains([]string{"", "b", "c", "u", "p"}, n.Type)
		if !filepath.IsAbs(n.Path) || !known || strings.Trim(n.Permissions, "rwm") != "" || strings.Contains(n.Path+n.HostPath, "\x00") {
			return fmt.Errorf("invalid device node %q", n.Path)
		}
	}
	for _, m := range e.Mounts {
		if m.HostPath == "" || !filepath.IsAbs(m.ContainerPath) || filepath.Clean(m.ContainerPath) == "/" || strings.Contains(m.HostPath+m.ContainerPath, "\x00") {
			return fmt.Errorf("invalid mount of %q at %q", m.HostPath, m.ContainerPath)
		}
	}
	for _, h := range e.Hooks {
		if !filepath.IsAbs(h.Path) || h.Timeout != nil && *h.Timeout <= 0 {
			return fmt.Errorf("invalid hook %q", h.Path)
		}
	}
	return nil
}

// listDir returns the descriptions of a directory by name, none when it is missing.
func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".json" || ext == ".yaml" || ext == ".yml" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}
