// Package shim has containers run by other runtimes than hoy's own: by containerd's
// shims (the runtime shim protocol of containerd, docs/runtime-v2.md there), and by OCI
// runtimes through the one of them that is for those.
package shim

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"

	"hoy/lib/fault"
)

// runcShim is the shim for OCI runtimes, as a type.
const runcShim = "io.containerd.runc.v2"

// stock are the names of hoy's own way, which needs no shim. runc is what docker's
// clients ask for who want what every engine has.
var stock = []string{"hoy", "runc", runcShim}

// Stock lists the names that mean hoy's own runtime.
func Stock() []string { return slices.Clone(stock) }

// Own tells whether a name means hoy's own runtime; a container without a name has it.
func Own(name string) bool { return name == "" || slices.Contains(stock, name) }

// Runtimes are the runtimes that the engine was told of, by name.
type Runtimes map[string]system.Runtime

// Check refuses what cannot be meant, in dockerd's words.
func (r Runtimes) Check() error {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		switch rt := r[name]; {
		case Own(name):
			return fault.New(fault.Invalid, "runtime name '%s' is reserved", name)
		case rt.Path == "" && rt.Type == "":
			return fault.New(fault.Invalid, "runtime %s: either a runtimeType or a path must be configured", name)
		case rt.Path != "" && rt.Type != "":
			return fault.New(fault.Invalid, "runtime %s: cannot configure both path and runtimeType for the same runtime", name)
		case rt.Path != "" && len(rt.Options) > 0:
			return fault.New(fault.Invalid, "runtime %s: options cannot be used with a path runtime", name)
		case rt.Type != "" && len(rt.Args) > 0:
			return fault.New(fault.Invalid, "runtime %s: args cannot be used with a runtimeType runtime", name)
		}
	}
	return nil
}

// Known tells whether containers may ask for a runtime by this name: hoy's own, one of
// r, or the type of a shim.
func (r Runtimes) Known(name string) bool {
	_, configured := r[name]
	return configured || Own(name) || isType(name)
}

// isType tells whether name is a shim's type, as io.containerd.NAME.vN. A path is none:
// whoever may use the API would choose programs of the host by it.
func isType(name string) bool {
	prefix, _, found := strings.Cut(name, ".")
	return found && prefix != "" && !strings.Contains(name, "/")
}

// Find says how containers of a name are run by now, which is not hoy's own. root is the
// directory in which OCI runtimes keep their state. What is not installed is an error.
func (r Runtimes) Find(name, root string) (*Task, error) {
	rt, configured := r[name]
	switch {
	case configured:
	case isType(name):
		rt.Type = name
	default:
		return nil, fault.New(fault.Invalid, "unknown or invalid runtime name: %s", name)
	}
	if rt.Path == "" {
		program, err := programOf(name, rt.Type)
		return &Task{Program: program, Type: rt.Type, Options: rt.Options}, err
	}
	path, err := exec.LookPath(rt.Path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "runtime %s: error while looking up the specified runtime path: %w", name, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	program, err := programOf(name, runcShim)
	return &Task{Program: program, Type: runcShim, Runtime: path, Args: rt.Args,
		Options: map[string]any{"BinaryName": path, "Root": root}}, err
}

// programOf finds a shim: its type is a path, or names a program on the engine's PATH by
// its last two parts.
func programOf(name, kind string) (string, error) {
	if filepath.IsAbs(kind) {
		if _, err := exec.LookPath(kind); err != nil {
			return "", fault.New(fault.NotFound, "runtime %s: %w", name, err)
		}
		return kind, nil
	}
	parts := strings.Split(kind, ".")
	if !isType(kind) || len(parts) < 2 {
		return "", fault.New(fault.Invalid, "runtime %s: invalid runtimeType: %s", name, kind)
	}
	program := "containerd-shim-" + parts[len(parts)-2] + "-" + parts[len(parts)-1]
	path, err := exec.LookPath(program)
	switch {
	case err != nil && kind == runcShim:
		return "", fault.New(fault.NotFound, "runtime %s needs %s, which is not installed: it comes with containerd", name, program)
	case err != nil:
		return "", fault.New(fault.NotFound, "runtime %s needs %s, which is not on the engine's PATH", name, program)
	}
	return filepath.Abs(path)
}
