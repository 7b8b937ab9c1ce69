package cgroup

import (
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Files lists what a controller's groups have in their directory, nothing where there
// is no such controller. It makes a group to look: the root has not all of the files.
func (h *Host) Files(controller string) ([]string, error) {
	v := h.find(controller)
	if v == nil {
		return nil, nil
	}
	if err := h.prepare(v, ".", false); err != nil {
		return nil, err
	}
	probe := "hoy-probe-" + strings.ToLower(rand.Text()[:8])
	if err := unix.Mkdirat(v.fd(), probe, 0o755); err != nil {
		return nil, &os.PathError{Op: "mkdirat", Path: v.name(probe), Err: err}
	}
	defer unix.Unlinkat(v.fd(), probe, unix.AT_REMOVEDIR)
	entries, err := os.ReadDir(v.name(probe))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, controller+".") {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return files, nil
}

// AllowRealtime gives the group at path, and those above it, a budget of realtime
// processor time: runtime microseconds in each period, 0 leaves the period as it is.
// Containers below get theirs out of it. Only v1 has such budgets, and only of kernels
// with CONFIG_RT_GROUP_SCHED.
func (h *Host) AllowRealtime(group string, period, runtime int64) error {
	v := h.find("cpu")
	if h.mode == V2 || v == nil || !exists(v.fd(), "cpu.rt_runtime_us") {
		return fault.New(fault.Invalid, "kernel does not support CPU real-time scheduler")
	}
	if err := h.prepare(v, relative(group), false); err != nil {
		return err
	}
	at := "."
	for name := range strings.SplitSeq(relative(group), "/") {
		at = path.Join(at, name)
		for _, s := range []struct {
			file  string
			value int64
		}{{"cpu.rt_period_us", period}, {"cpu.rt_runtime_us", runtime}} {
			if s.value == 0 {
				continue
			}
			if err := writeFile(v.fd(), path.Join(at, s.file), fmt.Sprint(s.value)); err != nil {
				return fmt.Errorf("cannot allow realtime scheduling in cgroup %s: %w", v.name(at), err)
			}
		}
	}
	return nil
}
