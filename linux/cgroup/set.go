package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/lib/fault"
)

// Set changes the limits of a live group, all of them or, if the kernel refuses one,
// none. Limits that r does not mention stay. undo sets what was before; device rules
// it leaves as they are.
func (g *Group) Set(r *specs.LinuxResources) (undo func() error, err error) {
	undo = func() error { return nil }
	settings, err := plan(g.host.mode, r)
	if err == nil {
		err = g.checkUsage(r)
	}
	var rules *deviceRules
	if err == nil {
		rules, err = parseDevices(r)
	}
	if err != nil {
		return undo, fmt.Errorf("cannot limit cgroup %s: %w", g.path, err)
	}
	var before []setting
	err = g.apply(settings, func(s setting) error {
		old := g.present(s)
		err := g.write(s)
		if err == nil && old != nil {
			before = append([]setting{*old}, before...)
		}
		return err
	})
	if err == nil {
		err = g.setDevices(rules, false)
	}
	undo = func() error { return g.apply(before, g.write) }
	if err != nil {
		return undo, fmt.Errorf("cannot limit cgroup %s: %w", g.path, errors.Join(err, undo()))
	}
	return undo, nil
}

// checkUsage refuses a limit of memory below what is in use, if the caller wants that.
func (g *Group) checkUsage(r *specs.LinuxResources) error {
	if r == nil || r.Memory == nil || r.Memory.CheckBeforeUpdate == nil || !*r.Memory.CheckBeforeUpdate || r.Memory.Limit == nil || *r.Memory.Limit <= 0 {
		return nil
	}
	s, err := g.Stats()
	if err == nil && s.Memory.Usage > uint64(*r.Memory.Limit) {
		err = fault.New(fault.Conflict, "the limit of memory, %d, is below what is in use, %d", *r.Memory.Limit, s.Memory.Usage)
	}
	return err
}

// present is the setting that has the value of now where s is about to put another,
// nil where there is none.
func (g *Group) present(s setting) *setting {
	v := g.hierarchy(s)
	for _, file := range s.files {
		if v == nil {
			break
		}
		text, err := readFile(v.fd(), path.Join(g.rel, file))
		if err != nil {
			continue
		}
		return &setting{controller: s.controller, files: []string{file}, value: presentValue(file, s.value, text)}
	}
	if s.other != nil {
		return g.present(*s.other)
	}
	return nil
}

// presentValue finds in a file's text what is to be written to undo writing value. A
// file of limits by device has a line for each, and none for those without limit.
func presentValue(file, value, text string) string {
	key, _, keyed := strings.Cut(value, " ")
	if !keyed || file == "cpu.max" {
		if text = strings.TrimSpace(text); text == "" {
			text = "\n" // nothing at all would not reach the kernel
		}
		return text
	}
	for line := range strings.Lines(text) {
		if k, _, _ := strings.Cut(line, " "); k == key {
			return strings.TrimSpace(line)
		}
	}
	switch {
	case file == "io.max":
		return key + " rbps=max wbps=max riops=max wiops=max"
	case strings.Contains(file, "weight"):
		return key + " default"
	}
	return key + " 0"
}
