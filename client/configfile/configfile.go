// Package configfile reads and changes docker's config.json.
package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a config.json as it was read. What we do not know of it stays as it is.
//
//	f := configfile.Read(dir)
//	err := f.Get(&conf)
//	err = f.Set("currentContext", "here")
//
// A file is for one command: nobody else may write it meanwhile.
type File struct {
	path   string
	text   []byte // as it was
	fields map[string]json.RawMessage
	broken error
}

// Read reads the file of a folder. One that is missing or empty has no fields; one that
// cannot be read has none either, and cannot be changed: see Broken.
func Read(dir string) *File {
	f := &File{path: filepath.Join(dir, "config.json")}
	b, err := os.ReadFile(f.path)
	if f.text = b; errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(b)) == 0 {
		f.text, err = []byte("{}"), nil
	}
	if err == nil {
		err = json.Unmarshal(f.text, &f.fields)
	}
	if err != nil {
		f.broken = fmt.Errorf("cannot read %s: %w", f.path, err)
	}
	if err != nil || f.fields == nil { // null
		f.fields = map[string]json.RawMessage{}
	}
	return f
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Broken says why the file could not be read, nil if it could.
func (f *File) Broken() error { return f.broken }

// Get reads one field; a field that is not there leaves to as it is.
func (f *File) Get(name string, to any) error {
	raw, ok := f.fields[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("cannot read %q in %s: %w", name, f.path, err)
	}
	return nil
}

// All reads all fields into a struct.
func (f *File) All(to any) error { return json.Unmarshal(f.text, to) }

// Set changes a field, nil takes it out, and writes the file.
func (f *File) Set(name string, value any) error {
	if f.broken != nil {
		return f.broken
	}
	if value == nil {
		delete(f.fields, name)
	} else {
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", f.path, err)
		}
		f.fields[name] = raw
	}
	if err := f.save(); err != nil {
		return fmt.Errorf("cannot write %s: %w", f.path, err)
	}
	return nil
}

// save replaces the file in one step, so that a reader sees the old one or the new one.
// It is the user's alone, and stays where a link points to.
func (f *File) save() error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(f.fields); err != nil {
		return err
	}
	target := f.path
	if real, err := filepath.EvalSymlinks(f.path); err == nil {
		target = real
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(target), ".config.json-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b.Bytes())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), target)
}
