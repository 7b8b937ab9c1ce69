package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// save replaces the file in one step, so that a reader sees the old one or the new one.
// It is the user's alone, and stays where a link points to.
func (s *Store) save() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s: %w", s.file, err)
		}
	}()
	if s.fields["auths"], err = json.Marshal(s.auths); err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(s.fields); err != nil {
		return err
	}
	target := s.file
	if real, err := filepath.EvalSymlinks(s.file); err == nil {
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
