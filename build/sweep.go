package build

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/worker/base"
	"golang.org/x/sys/unix"

	"hoy/image"
)

// BuildKit mounts the snapshots that it copies files into, and secrets, at paths below
// these folders. They are this engine's own, so that what one that was killed has left is
// known by where it is.
func (o *Options) mountsDir() string { return filepath.Join(o.Root, "mounts") }
func (o *Options) tempDir() string   { return filepath.Join(o.Root, "tmp") }

// sweep removes what an engine that was killed while it built has left.
func sweep(o *Options) error {
	if err := sweepSteps(o); err != nil {
		return err
	}
	for _, dir := range []string{o.mountsDir(), o.tempDir()} {
		if err := sweepMounts(dir); err != nil {
			return err
		}
	}
	return nil
}

// sweepMounts unmounts all that is below dir, and removes that.
func sweepMounts(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	below, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for i := len(below) - 1; i >= 0; i-- { // the last one mounted first
		if err := unix.Unmount(below[i], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return &os.PathError{Op: "umount", Path: below[i], Err: err}
		}
	}
	// Whatever is still mounted there is a cache, or a file system of the host.
	if below, err = mountsBelow(dir); err != nil || len(below) > 0 {
		return fmt.Errorf("cannot empty %s: %d mounts are left in it: %v", dir, len(below), err)
	}
	return os.RemoveAll(dir)
}

// mountsBelow lists the mount points below dir, in the order of mounting.
func mountsBelow(dir string) (points []string, err error) {
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 {
			if at := unescape.Replace(fields[4]); strings.HasPrefix(at, dir+"/") {
				points = append(points, at)
			}
		}
	}
	return points, lines.Err()
}

// sweepLeases ends the leases of cache that there is no record of any more: of one whose
// records were removed, or which was killed before it had written them.
func (b *Builder) sweepLeases(ctx context.Context, o base.WorkerOpt) error {
	all, err := o.LeaseManager.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if !image.IsCacheLease(l) {
			continue
		}
		if _, known := o.MetadataStore.Get(strings.TrimSuffix(l.ID, "-variants")); known {
			continue
		}
		if err := o.LeaseManager.Delete(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// sweepHistory ends what is kept of builds of before when the file that tells of them is
// not there.
func (b *Builder) sweepHistory(ctx context.Context, o base.WorkerOpt, file string) error {
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		return err
	}
	m := o.LeaseManager.WithNamespace(o.LeaseManager.Namespace() + "_history") // BuildKit's name
	all, err := m.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if err := m.Delete(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// useTempDir has BuildKit, which takes the environment's, work in ours, as dockerd does.
func useTempDir(o *Options) (undo func(), err error) {
	if err := os.MkdirAll(o.tempDir(), 0o700); err != nil {
		return nil, err
	}
	before, set := os.LookupEnv("TMPDIR")
	return func() {
		if set {
			os.Setenv("TMPDIR", before)
		} else {
			os.Unsetenv("TMPDIR")
		}
	}, os.Setenv("TMPDIR", o.tempDir())
}
