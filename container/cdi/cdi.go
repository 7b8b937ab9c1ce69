// Package cdi finds devices that their vendors describe in files, by the Container
// Device Interface.
package cdi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hoy/lib/fault"
)

// Registry is the directories of descriptions, those later in the list taking
// precedence. It remembers nothing: what a driver's installation has just written
// counts at the next start of a container.
//
//	edits, err := cdi.Registry{"/etc/cdi", "/var/run/cdi"}.Edits("vendor.com/gpu=0")
type Registry []string

// found is a device and where it was found.
type found struct {
	edits []Edits // of its file, and its own
	file  string
	level int  // of its directory
	twice bool // described in two files of one directory
}

// read reads all files; warnings tell of those that are no good.
func (r Registry) read() (all map[string]found, warnings []string) {
	all = map[string]found{}
	for level, dir := range r {
		paths, err := listDir(dir)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("CDI: cannot read %s: %v", dir, err))
		}
		for _, path := range paths {
			f, err := readFile(path)
			if err != nil {
				warnings = append(warnings, fmt.Sprintf("CDI: Error associated with spec file %s: %v", path, err))
				continue
			}
			for _, d := range f.Devices {
				name := f.Kind + "=" + d.Name
				before, known := all[name]
				all[name] = found{[]Edits{f.Edits, d.Edits}, path, level, known && before.level == level}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name].twice {
			warnings = append(warnings, fmt.Sprintf("CDI: conflicting device %q: described in several files beside %s", name, all[name].file))
			delete(all, name)
		}
	}
	return all, warnings
}

// Devices lists the devices by their full names, vendor.com/class=name, and says what
// is wrong with files.
func (r Registry) Devices() (names, warnings []string) {
	all, warnings := r.read()
	return slices.Sorted(maps.Keys(all)), warnings
}

// Has says whether there is a device of this kind, vendor.com/class.
func (r Registry) Has(kind string) bool {
	names, _ := r.Devices()
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, kind+"=") })
}

// Edits returns what the named devices change, in the order in which it is to be done;
// what a file has for all of its devices once.
func (r Registry) Edits(names ...string) ([]Edits, error) {
	all, warnings := r.read()
	var list []Edits
	var missing []string
	files := map[string]bool{}
	for i, name := range names {
		d, ok := all[name]
		switch {
		case !ok:
			missing = append(missing, name)
		case slices.Contains(names[:i], name):
		case files[d.file]:
			list = append(list, d.edits[1])
		default:
			files[d.file] = true
			list = append(list, d.edits...)
		}
	}
	if len(missing) > 0 {
		why := ""
		if len(warnings) > 0 {
			why = " (" + strings.Join(warnings, "; ") + ")"
		}
		return nil, fault.New(fault.Invalid, "CDI device injection failed: unresolvable CDI devices %s%s", strings.Join(missing, ", "), why)
	}
	return list, nil
}
