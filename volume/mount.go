package volume

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/mount"
	"hoy/linux/quota"
)

// needsMount says whether the options name a file system.
func (v *Volume) needsMount() bool { return v.Options["type"] != "" || v.Options["device"] != "" }

// Mount makes the volume ready for a container that starts, or that ran already when
// the engine began: it mounts the file system of its options, if it names one that is
// not mounted. An engine that ends leaves it mounted.
func (s *Store) Mount(name, container string) error {
	e, err := s.find(name)
	if err != nil || !e.v.needsMount() {
		return err
	}
	e.mounting.Lock()
	defer e.mounting.Unlock()
	if is, err := isMounted(e.v.Mountpoint); err != nil || is {
		e.mounted[container] = err == nil
		return err
	}
	if err := e.v.mount(); err != nil {
		return fault.New(fault.Invalid, "error while mounting volume '%s': failed to mount local volume: %w", e.v.Mountpoint, err)
	}
	e.mounted[container] = true
	return nil
}

// Unmount says that a container has ended. The last one's takes the mount away.
func (s *Store) Unmount(name, container string) {
	e, err := s.find(name)
	if err != nil || !e.v.needsMount() {
		return
	}
	e.mounting.Lock()
	defer e.mounting.Unlock()
	delete(e.mounted, container)
	if len(e.mounted) == 0 {
		unmount(e.v.Mountpoint)
	}
}

func (s *Store) find(name string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.vols[name]; e != nil {
		return e, nil
	}
	return nil, notFound(name)
}

// Tidy unmounts what no container runs with. It is called once, when those that still
// run have said Mount.
func (s *Store) Tidy() {
	s.mu.Lock()
	var list []*entry
	for _, e := range s.vols {
		if e.v.needsMount() {
			list = append(list, e)
		}
	}
	s.mu.Unlock()
	for _, e := range list {
		e.mounting.Lock()
		if is, err := isMounted(e.v.Mountpoint); err == nil && is && len(e.mounted) == 0 {
			unmount(e.v.Mountpoint)
		}
		e.mounting.Unlock()
	}
}

// isMounted says whether something is mounted on the directory (statx(2)).
func isMounted(dir string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	if err != nil {
		return false, fmt.Errorf("cannot inspect %s: statx: %w", dir, err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// unmount waits for nobody who still has it open.
func unmount(dir string) {
	if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		slog.Warn("cannot unmount volume", "dir", dir, "error", err)
	}
}

func (v *Volume) mount() error {
	device, options, err := v.resolved()
	if err != nil {
		return err
	}
	err = mount.Classic(device, v.Mountpoint, v.Options["type"], options)
	if secret := option(options, "password"); err != nil && secret != "" {
		err = errors.New(strings.ReplaceAll(err.Error(), "password="+secret, "password=********"))
	}
	return err
}

// resolved replaces the names of servers by addresses, which is all that the kernel
// takes.
func (v *Volume) resolved() (device, options string, err error) {
	device, options = v.Options["device"], v.Options["o"]
	kind := v.Options["type"]
	if kind != "nfs" && kind != "nfs4" && kind != "cifs" {
		return device, options, nil
	}
	if name := option(options, "addr"); name != "" {
		address, err := resolve(name)
		return device, strings.Replace(options, "addr="+name, "addr="+address, 1), err
	}
	if kind != "cifs" {
		return device, options, nil
	}
	u, err := url.Parse(device)
	if err != nil {
		return "", "", fmt.Errorf("error parsing mount device url: %w", err)
	}
	if u.Host == "" {
		return device, options, nil
	}
	if u.Host, err = resolve(u.Host); err != nil {
		return "", "", err
	}
	device, err = url.QueryUnescape(u.String())
	return device, options, err
}

func resolve(name string) (string, error) {
	if net.ParseIP(name) != nil {
		return name, nil
	}
	a, err := net.ResolveIPAddr("ip", name)
	if err != nil {
		return "", fmt.Errorf("error resolving passed in network volume address: %w", err)
	}
	return a.String(), nil
}

// option returns the value of one of comma-separated options.
func option(options, key string) string {
	for o := range strings.SplitSeq(options, ",") {
		if k, v, _ := strings.Cut(o, "="); k == key {
			return v
		}
	}
	return ""
}

// limit holds the new directory to a size such as "10g"; "" is none.
func limit(dir, size string) error {
	if size == "" {
		return nil
	}
	bytes, err := units.RAMInBytes(size)
	if err != nil || bytes <= 0 {
		return err
	}
	if err := quota.Limit(dir, bytes); err != nil {
		return fault.New(fault.Invalid, "quota size requested but no quota support: %w", err)
	}
	return nil
}
