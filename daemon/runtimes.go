package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"

	"hoy/lib/fault"
	"hoy/shim"
)

// readRuntimes reads the key runtimes of the configuration file.
func readRuntimes(v any) (shim.Runtimes, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var r shim.Runtimes
	err = d.Decode(&r)
	return r, err
}

// finishRuntimes puts the runtimes of the flags beside those of the file, whose names
// win, and looks for the default one. The words of its errors are dockerd's.
func (f *flags) finishRuntimes() error {
	o, named := f.o, map[string]bool{}
	for _, text := range f.runtimes {
		name, path, _ := strings.Cut(text, "=")
		name, path = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(path)
		switch {
		case name == "" || path == "":
			return fault.New(fault.Invalid, "--add-runtime: invalid runtime argument: %s", text)
		case named[name]:
			return fault.New(fault.Invalid, "--add-runtime: runtime '%s' was already defined", name)
		}
		named[name] = true
		if o.Runtimes == nil {
			o.Runtimes = shim.Runtimes{}
		}
		if _, inFile := o.Runtimes[name]; !inFile {
			o.Runtimes[name] = system.Runtime{Path: path}
		}
	}
	if err := o.Runtimes.Check(); err != nil {
		return err
	}
	if o.DefaultRuntime == "" {
		o.DefaultRuntime = "runc"
	}
	if !o.Runtimes.Known(o.DefaultRuntime) {
		return fault.New(fault.Invalid, "specified default runtime '%s' does not exist", o.DefaultRuntime)
	}
	return nil
}

// runtimes are the names by which containers may ask for a runtime.
func (o *Options) runtimes() map[string]system.RuntimeWithStatus {
	m := map[string]system.RuntimeWithStatus{}
	for _, name := range shim.Stock() {
		m[name] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: "hoy-keeper"}}
	}
	for name, r := range o.Runtimes {
		m[name] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: r.Path, Args: r.Args}}
	}
	return m
}

// runtimeList is the attribute of the event of a reload.
func (o *Options) runtimeList() string {
	var l []string
	for _, name := range slices.Sorted(maps.Keys(o.Runtimes)) {
		l = append(l, fmt.Sprintf("%s:%s", name, o.Runtimes[name].Path))
	}
	return strings.Join(l, " ")
}
