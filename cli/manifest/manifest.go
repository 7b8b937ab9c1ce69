// Package manifest keeps lists of manifests that are being put together, as docker does,
// and makes indexes of them.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/atomicfile"
)

// Media types of Docker's, which OCI's came from.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Entry is an image in a list, in the form of docker's files.
type Entry struct {
	Ref        string // the whole name
	Descriptor ocispec.Descriptor
	Raw        []byte `json:",omitempty"`
	// The manifest once more, for people; which of the two says its kind.
	SchemaV2Manifest json.RawMessage `json:",omitempty"`
	OCIManifest      json.RawMessage `json:",omitempty"`
}

// NewEntry is the entry of an image's manifest.
func NewEntry(ref string, d ocispec.Descriptor, raw []byte) (*Entry, error) {
	e := &Entry{Ref: ref, Descriptor: d, Raw: raw}
	switch d.MediaType {
	case DockerManifest:
		e.SchemaV2Manifest = raw
	case ocispec.MediaTypeImageManifest:
		e.OCIManifest = raw
	case DockerList, ocispec.MediaTypeImageIndex:
		return nil, fmt.Errorf("%s is a manifest list", ref)
	default:
		return nil, fmt.Errorf("%s is no manifest of an image: its media type is %s", ref, d.MediaType)
	}
	return e, nil
}

// Store is a folder with a folder for each list, which has a file for each image:
//
//	LIST/IMAGE    both names with - in place of : and _ in place of /
type Store struct{ Dir string }

// ErrNone is the error of a list or an image that is not in the store.
var ErrNone = errors.New("no such manifest")

func none(ref string) error { return fmt.Errorf("%w: %s", ErrNone, ref) }

func (s Store) path(list, image string) (string, error) {
	parts := []string{s.Dir}
	for _, name := range []string{list, image} {
		file := strings.NewReplacer(":", "-", "/", "_").Replace(name)
		if file == "." || file == ".." || file == "" && name == list || strings.ContainsRune(file, filepath.Separator) {
			return "", fmt.Errorf("invalid reference format: %q", name)
		}
		parts = append(parts, file)
	}
	return filepath.Join(parts...), nil
}

// Get returns an image of a list.
func (s Store) Get(list, image string) (*Entry, error) {
	path, err := s.path(list, image)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none(image)
	}
	if err != nil {
		return nil, err
	}
	return decode(path, b)
}

func decode(path string, b []byte) (*Entry, error) {
	e := &Entry{}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("cannot read the manifest in %s: %w: remove the list by 'hoy manifest rm', and create it anew", path, err)
	}
	if len(e.Raw) == 0 || int64(len(e.Raw)) != e.Descriptor.Size {
		return nil, fmt.Errorf("cannot use %s, which an old version of docker has written: remove the list by 'hoy manifest rm', and create it anew", path)
	}
	return e, nil
}

// List returns all images of a list, by the names of their files.
func (s Store) List(list string) ([]*Entry, error) {
	dir, err := s.path(list, "")
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var l []*Entry
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") { // somebody is writing
			continue
		}
		path := filepath.Join(dir, f.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		e, err := decode(path, b)
		if err != nil {
			return nil, err
		}
		l = append(l, e)
	}
	if len(l) == 0 {
		return nil, none(list)
	}
	return l, nil
}

// Has reports whether there is a list.
func (s Store) Has(list string) bool {
	dir, err := s.path(list, "")
	if err != nil {
		return false
	}
	files, _ := os.ReadDir(dir)
	return len(files) > 0
}

// Put adds an image to a list, or replaces it.
func (s Store) Put(list, image string, e *Entry) error {
	path, err := s.path(list, image)
	if err != nil {
		return err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o644)
}

// Remove forgets a list.
func (s Store) Remove(list string) error {
	if !s.Has(list) {
		return none(list)
	}
	dir, err := s.path(list, "")
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// index and those below have docker's order of fields: the digest is the same then.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type descriptor struct {
	MediaType string   `json:"mediaType"`
	Size      int64    `json:"size"`
	Digest    string   `json:"digest"`
	Platform  platform `json:"platform"`
}

type platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version,omitempty"`
	OSFeatures   []string `json:"os.features,omitempty"`
	Variant      string   `json:"variant,omitempty"`
}

// Index makes an index of entries: OCI's if the first image is, or else Docker's.
func Index(entries []*Entry) (mediaType string, raw []byte) {
	i := index{SchemaVersion: 2, MediaType: DockerList, Manifests: []descriptor{}}
	if len(entries) > 0 && entries[0].Descriptor.MediaType == ocispec.MediaTypeImageManifest {
		i.MediaType = ocispec.MediaTypeImageIndex
	}
	for _, e := range entries {
		d := descriptor{MediaType: e.Descriptor.MediaType, Size: e.Descriptor.Size, Digest: e.Descriptor.Digest.String()}
		if p := e.Descriptor.Platform; p != nil {
			d.Platform = platform{p.Architecture, p.OS, p.OSVersion, p.OSFeatures, p.Variant}
		}
		i.Manifests = append(i.Manifests, d)
	}
	raw, _ = json.MarshalIndent(i, "", "   ") // texts and numbers can always be encoded
	return i.MediaType, raw
}

// known are the platforms that Go builds programs for, and so images may be of.
var known = map[string]string{
	"darwin": "386 amd64 arm arm64", "dragonfly": "amd64", "freebsd": "386 amd64 arm arm64 riscv64",
	"linux":  "386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64le riscv64 s390x",
	"netbsd": "386 amd64 arm arm64", "openbsd": "386 amd64 arm arm64", "plan9": "386 amd64", "solaris": "amd64", "windows": "386 amd64 arm64",
}

// Known reports whether there are images for an operating system and architecture.
func Known(os, arch string) bool { return slices.Contains(strings.Fields(known[os]), arch) }
