package cgroup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// setting is one value to write. Files are tried in turn where kernels name one
// thing differently.
type setting struct {
	controller string
	files      []string
	value      string
	initial    bool     // what a new group has anyway
	other      *setting // where none of files is there
}

func (s setting) String() string {
	line := fmt.Sprintf("%s %s = %s", s.controller, strings.Join(s.files, "|"), s.value)
	if s.other != nil {
		line += ", else " + s.other.String()
	}
	return line
}

// planner collects the settings for resources, or the reason why they make no sense.
type planner struct {
	settings []setting
	err      error
}

func (p *planner) put(controller, value string, files ...string) {
	p.settings = append(p.settings, setting{controller: controller, files: files, value: value})
}

// start is put for a value that a new group has anyway.
func (p *planner) start(controller, value, file string) { p.maybe(true, controller, value, file) }

// maybe is put for a value that a new group has anyway if initial.
func (p *planner) maybe(initial bool, controller, value, file string) {
	p.settings = append(p.settings, setting{controller: controller, files: []string{file}, value: value, initial: initial})
}

func (p *planner) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = fault.New(fault.Invalid, format, args...)
	}
}

// plan turns resources into settings; devices are not among them.
func plan(m Mode, r *specs.LinuxResources) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	var p planner
	//lint:ignore SA1019 refused, not used
	if r.Memory != nil && r.Memory.Kernel != nil && *r.Memory.Kernel > 0 {
		p.refuse("a limit of kernel memory: the kernel no longer has one")
	}
	if n := r.Network; n != nil && (n.ClassID != nil && *n.ClassID != 0 || len(n.Priorities) > 0) {
		p.refuse("network classes and priorities of control groups are not supported")
	}
	if m == V2 {
		p.v2(r)
	} else {
		p.v1(r)
	}
	p.rdma(r.Rdma)
	return p.settings, p.err
}

func (p *planner) rdma(limits map[string]specs.LinuxRdma) {
	for _, device := range sortedKeys(limits) {
		l, value := limits[device], device
		if l.HcaHandles != nil {
			value += fmt.Sprintf(" hca_handle=%d", *l.HcaHandles)
		}
		if l.HcaObjects != nil {
			value += fmt.Sprintf(" hca_object=%d", *l.HcaObjects)
		}
		if value != device {
			p.put("rdma", value, "rdma.max")
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// hugepageSize checks a name of the kernel's, such as 2MB: it becomes part of a file name.
func (p *planner) hugepageSize(s string) bool {
	digits := strings.TrimRight(s, "KMGB")
	ok := digits != "" && digits != s && strings.Trim(digits, "0123456789") == ""
	if !ok {
		p.refuse("%q is no size of huge pages: they are written like 2MB", s)
	}
	return ok
}
