package shim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
)

// TestRuntimes refuses what cannot be meant in dockerd's words, and finds the shim of what
// can.
func TestRuntimes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"containerd-shim-runc-v2", "containerd-shim-kata-v2", "crun"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	r := Runtimes{
		"crun": {Path: "crun", Args: []string{"--debug", "a b"}},
		"gone": {Path: "/nowhere/crun"},
		"kata": {Type: "io.containerd.kata.v2", Options: map[string]any{"ConfigPath": "/etc/kata.toml"}},
		"path": {Type: dir + "/containerd-shim-kata-v2"},
	}
	for name, want := range map[string]string{
		"crun":                     "containerd-shim-runc-v2",
		"kata":                     "containerd-shim-kata-v2",
		"path":                     "containerd-shim-kata-v2",
		"io.containerd.kata.v2":    "containerd-shim-kata-v2",
		"gone":                     "error while looking up the specified runtime path",
		"io.containerd.other.v1":   "needs containerd-shim-other-v1, which is not on the engine's PATH",
		"other":                    "unknown or invalid runtime name: other",
		"/bin/sh":                  "unknown or invalid runtime name: /bin/sh",
		dir + "/containerd-shim.a": "unknown or invalid runtime name",
		".kata.v2":                 "unknown or invalid runtime name",
	} {
		task, err := r.Find(name, "/run/x")
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = task.Program
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if known := r.Known(name); known == strings.HasPrefix(want, "unknown") {
			t.Errorf("%s: known: %v", name, known)
		}
	}
	for want, rt := range map[string]system.Runtime{
		"either a runtimeType or a path must be configured":               {},
		"cannot configure both path and runtimeType for the same runtime": {Path: "a", Type: "b"},
		"options cannot be used with a path runtime":                      {Path: "a", Options: map[string]any{"a": 1}},
		"runtime x: args cannot be used with a runtimeType runtime":       {Type: "a", Args: []string{"b"}},
	} {
		if err := (Runtimes{"x": rt}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", rt, err, want)
		}
	}
	for _, name := range Stock() {
		if err := (Runtimes{name: {Path: "a"}}).Check(); err == nil || !strings.Contains(err.Error(), "is reserved") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWrap runs an OCI runtime with its arguments, each one word.
func TestWrap(t *testing.T) {
	b := Bundle(filepath.Join(t.TempDir(), "b"))
	task := &Task{Runtime: "/bin/it's", Args: []string{"--a b"}, Options: map[string]any{}}
	if err := b.Make(task, nil); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(task.Options["BinaryName"].(string))
	if want := "#!/bin/sh\nexec '/bin/it'\\''s' '--a b' \"$@\"\n"; err != nil || string(script) != want {
		t.Errorf("%q, want %q: %v", script, want, err)
	}
}
