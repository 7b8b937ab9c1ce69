package shim

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Namespace is that of hoy's containers among a shim's.
const Namespace = "hoy"

// A Bundle is the directory of a container that a shim runs, in the exec root, while it
// runs. The engine makes it before the start and removes it after the end:
//
//	config.json      the OCI specification
//	task.json        by which shim (Task)
//	rootfs           the root file system, mounted in hoy-shim's mount namespace alone,
//	netns  userns    as are namespaces
//	mounts/N         and sources of binds that no path names
//	oci-runtime      a script that calls the OCI runtime with its arguments
//	exec-ID.json     a further process about to be started (Process)
//	paused           the container may be paused: from before it is until it is not any more
//
// hoy-shim writes into it:
//
//	shim.json        where the shim answers (Address), from before it is started until
//	                 nothing is left of it
//	oom              something was killed for lack of memory
//	0 1 ID.0 ID.1    FIFOs between the shim and hoy-shim
//	log  events      what the shim has to say
//
// The rest is the shim's own.
type Bundle string

// Task is how a container is run by a shim.
type Task struct {
	ID      string         `json:"id"`
	Program string         `json:"program"` // path of the shim
	Type    string         `json:"type"`
	Runtime string         `json:"runtime,omitempty"` // OCI runtime, with Args
	Args    []string       `json:"args,omitempty"`
	Options map[string]any `json:"options,omitempty"` // by the names of the type's options

	Terminal bool `json:"terminal,omitempty"`
	Stdin    bool `json:"stdin,omitempty"`
}

// Process is a further process in a container.
type Process struct {
	Spec     *specs.Process `json:"spec"`
	Terminal bool           `json:"terminal,omitempty"`
	Stdin    bool           `json:"stdin,omitempty"`
}

// Address is where a shim answers.
type Address struct {
	Address string `json:"address,omitempty"` // "": it is just being started
	Version int    `json:"version,omitempty"` // of the task API
}

// Report is what hoy-shim says of a start, on descriptor ReportFD.
type Report struct {
	Pid   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

// ReportFD is the descriptor for the Report.
const ReportFD = 3

// Path returns the path of a file.
func (b Bundle) Path(name string) string { return filepath.Join(string(b), name) }

// ExecFile is the name of the Process with an id.
func ExecFile(id string) string { return "exec-" + id + ".json" }

// Make makes the directory. Others than root may pass through it: a container's root
// that is not the host's finds its root file system in it.
func (b Bundle) Make(t *Task, spec *specs.Spec) error {
	if err := os.MkdirAll(b.Path("mounts"), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(b.Path("rootfs"), 0o711); err != nil {
		return err
	}
	if len(t.Args) > 0 {
		if err := b.wrap(t); err != nil {
			return err
		}
	}
	if err := b.Write("task.json", t); err != nil {
		return err
	}
	return b.Write("config.json", spec)
}

// wrap makes a program that runs the OCI runtime with its arguments: the shim gives none.
func (b Bundle) wrap(t *Task) error {
	script := "#!/bin/sh\nexec " + quote(t.Runtime)
	for _, a := range t.Args {
		script += " " + quote(a)
	}
	t.Options["BinaryName"] = b.Path("oci-runtime")
	return os.WriteFile(b.Path("oci-runtime"), []byte(script+" \"$@\"\n"), 0o700)
}

// Write writes a file.
func (b Bundle) Write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(b.Path(name), data, 0o600)
}

// Read reads a file.
func (b Bundle) Read(name string, v any) error {
	data, err := os.ReadFile(b.Path(name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// There tells whether the directory is.
func (b Bundle) There() bool {
	_, err := os.Lstat(string(b))
	return err == nil
}

// Has tells whether it has a file.
func (b Bundle) Has(name string) bool {
	_, err := os.Lstat(b.Path(name))
	return err == nil
}
