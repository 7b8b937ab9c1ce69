package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"hoy/lib/cleanup"
	"hoy/lib/thread"
)

// The staging thread lives in a mount namespace of its own, with a tmpfs as its
// working directory. There the layers of one overlay at a time get names short enough
// for the single page of options that mount(2) takes, and id-mapped layers, and mounts
// of which a part is copied, are attached as kernels before 6.15 insist on. The namespace is a slave of the
// process's: later mounts are seen in it, and unmounting them is not prevented.

// stagingDir is covered by the thread's tmpfs; no layer can be there.
const stagingDir = "/sys"

// stager starts the thread when it is first needed. The thread ends with the process.
var stager = sync.OnceValues(startStager)

type job struct {
	do   func() (*os.File, error)
	done chan<- result
}

type result struct {
	f   *os.File
	err error
}

func startStager() (chan<- job, error) {
	jobs, ready := make(chan job), make(chan error)
	go thread.Run(func() { // the thread's namespace is not the process's
		err := enterStaging()
		ready <- err
		if err != nil {
			return
		}
		for j := range jobs {
			f, err := j.do()
			j.done <- result{f, err}
		}
	})
	return jobs, <-ready
}

func enterStaging() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace to stage layers: unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot make mounts of the staging namespace slaves: mount: %w", err)
	}
	f, err := Tmpfs(unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID, Option{"mode", "0700"})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := Attach(f, stagingDir); err != nil {
		return err
	}
	if err := unix.Chdir(stagingDir); err != nil {
		return fmt.Errorf("cannot enter the staging directory: chdir: %w", err)
	}
	return nil
}

// staged runs do on the staging thread.
func staged(do func() (*os.File, error)) (*os.File, error) {
	jobs, err := stager()
	if err != nil {
		return nil, err
	}
	done := make(chan result)
	jobs <- job{do, done}
	r := <-done
	return r.f, r.err
}

// byStaging makes the overlay on the staging thread.
func byStaging(c OverlayConfig) (*os.File, error) {
	return staged(func() (f *os.File, err error) {
		err = asRoot(c, func() error {
			f, err = stage(c)
			return err
		})
		return f, err
	})
}

// stage runs on the staging thread, in its directory.
func stage(c OverlayConfig) (*os.File, error) {
	var undo cleanup.Stack
	defer undo.Run()
	names := make([]string, len(c.Lower))
	for i, l := range c.Lower {
		names[i] = strconv.FormatInt(int64(i), 36)
		if err := stageLayer(&undo, l, names[i], c.UserNS); err != nil {
			return nil, err
		}
	}
	options := "lowerdir=" + strings.Join(names, ":")
	if c.Upper != "" {
		if err := stageLayer(&undo, filepath.Dir(c.Upper), "up", c.UserNS); err != nil {
			return nil, err
		}
		options += ",upperdir=up/" + filepath.Base(c.Upper) + ",workdir=up/" + filepath.Base(c.Work)
	}
	for _, o := range c.options() {
		options += "," + strings.TrimSuffix(o.Key+"="+o.Value, "=")
	}
	if c.Context != "" {
		options += `,context="` + c.Context + `"`
	}
	return mountStaged(&undo, options, c.ReadOnly)
}

// stageLayer gives the directory at path a short name.
func stageLayer(undo *cleanup.Stack, path, name string, userns *os.File) error {
	if userns == nil {
		if err := os.Symlink(path, name); err != nil {
			return fmt.Errorf("cannot stage layer %s: %w", path, err)
		}
		undo.Add(func() { os.Remove(name) })
		return nil
	}
	f, err := layer(path, userns)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(name, 0o700); err != nil {
		return fmt.Errorf("cannot stage layer %s: %w", path, err)
	}
	undo.Add(func() { os.Remove(name) })
	if err := Attach(f, name); err != nil {
		return err
	}
	undo.Add(func() { unix.Unmount(name, unix.MNT_DETACH) })
	return nil
}

func mountStaged(undo *cleanup.Stack, options string, readOnly bool) (*os.File, error) {
	const target = "merged"
	if err := os.Mkdir(target, 0o700); err != nil {
		return nil, fmt.Errorf("cannot stage overlay: %w", err)
	}
	undo.Add(func() { os.Remove(target) })
	flags := uintptr(0)
	if readOnly {
		flags = unix.MS_RDONLY
	}
	if err := unix.Mount("overlay", target, "overlay", flags, options); err != nil {
		return nil, fmt.Errorf("cannot mount overlay (%s): mount: %w", options, err)
	}
	undo.Add(func() { unix.Unmount(target, unix.MNT_DETACH) })
	return Bind(target, false)
}
