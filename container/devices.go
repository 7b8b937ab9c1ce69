package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/blkiodev"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/lib/fault"
)

// devices finds the device nodes of the host that the container asks for. A
// directory stands for all device nodes below it; privileged for /dev.
func devices(h *apicontainer.HostConfig) ([]spec.Device, error) {
	var list []spec.Device
	if h.Privileged {
		all, err := deviceTree("/dev", "/dev", "rwm")
		if err != nil {
			return nil, err
		}
		list = all
	}
	for _, d := range h.Devices {
		inside := first(d.PathInContainer, d.PathOnHost)
		access := first(d.CgroupPermissions, "rwm")
		if dir, err := filepath.EvalSymlinks(d.PathOnHost); err == nil && isDir(dir) {
			below, err := deviceTree(dir, inside, access)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
			continue
		}
		dev, ok, err := device(d.PathOnHost, inside, access)
		if e, isPath := errors.AsType[*fs.PathError](err); isPath {
			err = e.Err // docker does not name the call
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "error gathering device information while adding custom device %q: %w", d.PathOnHost, err)
		}
		if !ok {
			return nil, fault.New(fault.Invalid, "error gathering device information while adding custom device %q: not a device node", d.PathOnHost)
		}
		list = append(list, dev)
	}
	return list, nil
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// deviceTree lists the device nodes below dir, without those that every container
// has its own of.
func deviceTree(dir, inside, access string) ([]spec.Device, error) {
	var list []spec.Device
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("cannot list devices: %w", err)
		case path == "/dev/pts" || path == "/dev/shm" || path == "/dev/mqueue" || path == "/dev/.lxc" || path == "/dev/.lxd-mounts":
			return fs.SkipDir // of a link it would skip all that comes after it
		case e.Type()&fs.ModeDevice == 0 || path == "/dev/console":
			return nil
		}
		d, ok, err := device(path, inside+strings.TrimPrefix(path, dir), access)
		if ok {
			list = append(list, d)
		}
		return err
	})
	return list, err
}

func device(path, inside, access string) (d spec.Device, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return d, false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind, ok := map[uint32]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b", unix.S_IFIFO: "p"}[st.Mode&unix.S_IFMT]
	if !ok {
		return d, false, nil
	}
	mode := fs.FileMode(st.Mode & 0o7777)
	d.LinuxDevice = specs.LinuxDevice{Path: inside, Type: kind, FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev))}
	d.Access = access
	return d, true, nil
}

// blockDevices finds the numbers of the devices that block I/O limits name.
func blockDevices(h *apicontainer.HostConfig) (map[string]spec.Number, error) {
	var paths []string
	for _, w := range h.BlkioWeightDevice {
		paths = append(paths, w.Path)
	}
	for _, l := range [][]*blkiodev.ThrottleDevice{h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps, h.BlkioDeviceReadIOps, h.BlkioDeviceWriteIOps} {
		for _, t := range l {
			paths = append(paths, t.Path)
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	numbers := map[string]spec.Number{}
	for _, p := range paths {
		d, ok, err := device(p, p, "")
		if err != nil || !ok || d.Type != "b" {
			return nil, fault.New(fault.Invalid, "cannot limit block I/O of %q: not a block device", p)
		}
		numbers[p] = spec.Number{Major: d.Major, Minor: d.Minor}
	}
	return numbers, nil
}
