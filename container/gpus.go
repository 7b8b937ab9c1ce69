package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/container/cdi"
	"hoy/lib/fault"
	"hoy/linux/mount"
	"hoy/runtime"
)

// gpus are the device drivers that stand for a vendor's CDI devices, in the order in
// which a request that names no driver tries them.
var gpus = []struct {
	driver, kind string
	capabilities []string
}{
	{"nvidia", "nvidia.com/gpu", []string{"gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display"}},
	{"amd", "amd.com/gpu", []string{"gpu", "amd"}},
}

// cdiNames are the CDI devices that the container's device requests come to: those
// they name, and GPUs by number.
func cdiNames(requests []apicontainer.DeviceRequest, known cdi.Registry) ([]string, error) {
	var names []string
	for _, r := range requests {
		list, err := requestNames(r, known)
		if err != nil {
			return nil, err
		}
		names = append(names, list...)
	}
	return names, nil
}

func requestNames(r apicontainer.DeviceRequest, known cdi.Registry) ([]string, error) {
	if r.Driver == "cdi" {
		switch {
		case r.Count != 0:
			return nil, fault.New(fault.Invalid, "unexpected count in CDI device request")
		case len(r.Options) > 0:
			return nil, fault.New(fault.Invalid, "unexpected options in CDI device request")
		}
		return r.DeviceIDs, nil
	}
	for _, g := range gpus {
		named := r.Driver == g.driver || r.Driver == g.driver+".cdi"
		able := r.Driver == "" && slices.ContainsFunc(r.Capabilities, func(all []string) bool {
			return !slices.ContainsFunc(all, func(c string) bool { return !slices.Contains(g.capabilities, c) })
		})
		if (named || able) && known.Has(g.kind) {
			return gpuNames(r, g.kind)
		}
	}
	return nil, fault.New(fault.Invalid, "could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities)
}

// gpuNames are the first devices of a kind, all of them, or those with the given ids.
func gpuNames(r apicontainer.DeviceRequest, kind string) ([]string, error) {
	ids := slices.Clone(r.DeviceIDs)
	switch {
	case r.Count != 0 && len(ids) > 0:
		return nil, fault.New(fault.Invalid, "cannot set both Count and DeviceIDs on device request")
	case r.Count < 0:
		ids = []string{"all"}
	}
	for i := range max(r.Count, 0) {
		ids = append(ids, strconv.Itoa(i))
	}
	for i, id := range ids {
		if !strings.Contains(id, "=") {
			ids[i] = kind + "=" + id
		}
	}
	return ids, nil
}

// injectDevices makes the changes that the container's CDI devices ask for.
func (c *Containers) injectDevices(s *specs.Spec, h *apicontainer.HostConfig) error {
	if len(h.DeviceRequests) == 0 {
		return nil
	}
	names, err := cdiNames(h.DeviceRequests, c.o.CDI)
	if err != nil {
		return err
	}
	edits, err := c.o.CDI.Edits(names...)
	if err != nil {
		return err
	}
	return cdi.Apply(s, edits, func(path string) (specs.LinuxDevice, error) {
		d, ok, err := device(path, path, "")
		if err == nil && !ok {
			err = fmt.Errorf("%s is not a device node", path)
		}
		return d.LinuxDevice, err
	})
}

// runHooks runs the hooks of CDI devices, which change the container's files, and takes
// them off the specification: for the runtime they are done.
func (l *launch) runHooks() error {
	if l.spec.Hooks == nil {
		return nil
	}
	if l.userNS() != nil {
		return fault.New(fault.NotImplemented, "hooks of CDI devices are not supported in a user namespace: use --userns=host")
	}
	root, copied, err := mount.Twin(l.root)
	if err != nil {
		return err
	}
	l.root = root
	defer copied.Close()
	bundle := filepath.Join(l.c.o.ExecRoot, "hooks", l.k.id)
	defer os.RemoveAll(bundle)
	err = runtime.RunHooks(l.k.id, bundle, l.spec, copied)
	l.spec.Hooks = nil
	return err
}
