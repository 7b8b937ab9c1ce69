package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// changes are all that is changed in the copy of moby's source that the tests are built of:
// where they look at what is dockerd's own they look at hoy's, if that is the engine under
// test, for the same and as strictly. Each patch begins with the reason.
//
//go:embed changes
var changes embed.FS

// added are the files that the copy has besides, which the patches use.
var added = map[string]string{
	"changes/hoy.go.txt":     "internal/testutil/hoy/hoy.go",
	"changes/records.go.txt": "internal/testutil/daemon/records.go",
}

// source copies the module and changes it.
func (o *options) source(moby string) (string, error) {
	dir := filepath.Join(o.cache, "source")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(moby)); err != nil {
		return "", err
	}
	for from, to := range added {
		b, err := changes.ReadFile(from)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return "", err
		}
	}
	return dir, patch(dir)
}

// patch applies every patch. One that finds another text than it did is an error.
func patch(dir string) error {
	patches, err := fs.Glob(changes, "changes/*.patch")
	if err != nil {
		return err
	}
	for _, p := range patches {
		f, err := changes.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		c := command(dir, "git", "apply", "-")
		c.Stdin = f
		c.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)) // a cache may be in a repository
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: moby's source is not as it was: %w\n%s", p, err, out)
		}
	}
	return nil
}

// changed tells the changes, and what they are made to, apart from others.
func changed() (string, error) {
	names, err := fs.Glob(changes, "changes/*")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, module)
	for _, name := range names {
		b, err := changes.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, name, len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
