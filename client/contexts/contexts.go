// Package contexts keeps names for engines, in the folder and form of docker's command
// line, so that both know them.
//
//	contexts/meta/SHA256/meta.json         {"Name", "Metadata": {"Description"}, "Endpoints": {"docker": {"Host", "SkipTLSVerify"}}}
//	contexts/tls/SHA256/docker/{ca,cert,key}.pem
//
// SHA256 is the digest of the context's name, in hexadecimal digits.
package contexts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hoy/lib/atomicfile"
)

// Default is the name of what is used where no context is: it is not stored.
const Default = "default"

// docker is the name of the endpoint that is an engine.
const docker = "docker"

// Context is a context as it is stored. Endpoints of other kinds stay as they are.
type Context struct {
	Name      string
	Metadata  Metadata
	Endpoints map[string]json.RawMessage
}

// Metadata is what a context says of itself.
type Metadata struct {
	Description string
	others      map[string]json.RawMessage // fields of other programs
}

// Endpoint is an engine: unix://…, tcp://…, ssh://….
type Endpoint struct {
	Host          string `json:",omitempty"`
	SkipTLSVerify bool
}

// TLS are certificates and keys: the content of files by their names, by endpoint.
type TLS map[string]map[string][]byte

// Files are the names of the files, by endpoint.
func (t TLS) Files() map[string][]string {
	names := map[string][]string{}
	for e, files := range t {
		names[e] = slices.Sorted(maps.Keys(files))
	}
	return names
}

// MarshalJSON writes the fields of others, too.
func (m Metadata) MarshalJSON() ([]byte, error) {
	fields := maps.Clone(m.others)
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	if m.Description != "" {
		raw, err := json.Marshal(m.Description)
		if err != nil {
			return nil, err
		}
		fields["Description"] = raw
	}
	return json.Marshal(fields)
}

// UnmarshalJSON keeps the fields of others.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if raw, ok := fields["Description"]; ok {
		if err := json.Unmarshal(raw, &m.Description); err != nil {
			return err
		}
		delete(fields, "Description")
	}
	m.others = fields
	return nil
}

// New returns a context for an engine.
func New(name, description string, e Endpoint) *Context {
	c := &Context{Name: name, Metadata: Metadata{Description: description}}
	c.SetEngine(e)
	return c
}

// Engine is the context's engine.
func (c *Context) Engine() (Endpoint, error) {
	var e Endpoint
	raw, ok := c.Endpoints[docker]
	if !ok {
		return e, errors.New("cannot find docker endpoint in context")
	}
	return e, json.Unmarshal(raw, &e)
}

// SetEngine changes the context's engine.
func (c *Context) SetEngine(e Endpoint) {
	if c.Endpoints == nil {
		c.Endpoints = map[string]json.RawMessage{}
	}
	c.Endpoints[docker], _ = json.Marshal(e) // a string and a bool
}

// CheckName refuses names that docker would.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("context name cannot be empty")
	case name == Default:
		return errors.New(`"default" is a reserved context name`)
	case len(name) < 2 || strings.Trim(name, letters+"_.+-") != "" || !strings.Contains(letters, name[:1]):
		return fmt.Errorf("context name %q is invalid, names are validated against regexp %q", name, "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$")
	}
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// Store is the folder of contexts below the one of config.json.
type Store struct{ dir string }

// In returns the store of a folder of config.json, which need not exist.
func In(configDir string) Store { return Store{filepath.Join(configDir, "contexts")} }

func folder(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// MetaDir is where a context's metadata is.
func (s Store) MetaDir(name string) string { return filepath.Join(s.dir, "meta", folder(name)) }

// TLSDir is where a context's certificates are.
func (s Store) TLSDir(name string) string { return filepath.Join(s.dir, "tls", folder(name)) }

// EngineFile is where a file of an engine's is, ca.pem, cert.pem or key.pem.
func (s Store) EngineFile(name, file string) string {
	return filepath.Join(s.TLSDir(name), docker, file)
}

// HasTLS says whether a context has certificates for its engine.
func (s Store) HasTLS(name string) bool {
	_, err := os.Stat(filepath.Join(s.TLSDir(name), docker))
	return err == nil
}

// Get reads a context; its error is fs.ErrNotExist if there is none.
func (s Store) Get(name string) (*Context, error) {
	c, err := s.read(folder(name))
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", name, err)
	}
	return c, nil
}

func (s Store) read(folder string) (*Context, error) {
	file := filepath.Join(s.dir, "meta", folder, "meta.json")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("context not found: %w", err)
	} else if err != nil {
		return nil, err
	}
	c := &Context{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", file, err)
	}
	return c, nil
}

// List are all contexts, ordered by name. Those that cannot be read come as errors, the
// others all the same.
func (s Store) List() (list []*Context, err error) {
	folders, readErr := os.ReadDir(filepath.Join(s.dir, "meta"))
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return nil, readErr
	}
	for _, f := range folders {
		c, readErr := s.read(f.Name())
		if errors.Is(readErr, fs.ErrNotExist) {
			continue // a folder of something else, or removed meanwhile
		}
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("failed to read metadata: %w", readErr))
			continue
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Context) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// TLS reads the certificates of a context.
func (s Store) TLS(name string) (TLS, error) {
	t := TLS{}
	endpoints, err := os.ReadDir(s.TLSDir(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range endpoints {
		files, err := os.ReadDir(filepath.Join(s.TLSDir(name), e.Name()))
		if err != nil {
			return nil, err
		}
		t[e.Name()] = map[string][]byte{}
		for _, f := range files {
			if t[e.Name()][f.Name()], err = os.ReadFile(filepath.Join(s.TLSDir(name), e.Name(), f.Name())); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// Put writes a context, and its certificates anew unless tls is nil: those first, so that
// a context that is there is whole.
func (s Store) Put(c *Context, tls TLS) error {
	if tls != nil {
		if err := s.putTLS(c.Name, tls); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return err
	}
	if err := os.MkdirAll(s.MetaDir(c.Name), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.MetaDir(c.Name), "meta.json"), bytes.TrimSpace(b.Bytes()), 0o644)
}

func (s Store) putTLS(name string, tls TLS) error {
	dir := s.TLSDir(name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for endpoint, files := range tls {
		for file, content := range files {
			if err := os.MkdirAll(s.dir, 0o755); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(dir, endpoint), 0o700); err != nil {
				return err
			}
			if err := atomicfile.Write(filepath.Join(dir, endpoint, file), content, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutEngine replaces the files of the engine alone.
func (t TLS) PutEngine(files map[string][]byte) {
	if delete(t, docker); len(files) > 0 {
		t[docker] = files
	}
}

// Remove removes a context. That there is none is no error.
func (s Store) Remove(name string) error {
	if err := errors.Join(os.RemoveAll(s.MetaDir(name)), os.RemoveAll(s.TLSDir(name))); err != nil {
		return fmt.Errorf("failed to remove context %s: %w", name, err)
	}
	return nil
}
