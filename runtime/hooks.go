package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/thread"
	"hoy/linux/mount"
)

// RunHooks runs the spec's createContainer hooks, programs of the host that change the
// container's files before its own program starts: vendors of devices put links to
// their libraries there. They see, in a mount namespace of their own, an OCI bundle in
// dir, which must exist: config.json, and the root file system with the spec's binds.
// root is a copy of the container's root, a detached mount, and is used up. The hooks
// learn of no process: there is none yet.
func RunHooks(id, dir string, s *specs.Spec, root *os.File) error {
	var err error
	thread.Run(func() { err = runHooks(id, dir, s, root) })
	return err
}

func runHooks(id, dir string, s *specs.Spec, root *os.File) error {
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(rootfs, 0o700); err != nil {
		return fmt.Errorf("cannot make a bundle for hooks: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot run hooks: unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot run hooks: mount: %w", err)
	}
	if err := mount.Attach(root, rootfs); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if m.Type != "bind" {
			continue
		}
		if err := bindForHooks(root, m); err != nil {
			return fmt.Errorf("cannot run hooks: mount %s: %w", m.Destination, err)
		}
	}
	config := *s
	config.Root = &specs.Root{Path: rootfs}
	if err := writeJSON(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	state, err := json.Marshal(specs.State{Version: specs.Version, ID: id, Status: specs.StateCreating, Bundle: dir})
	if err != nil {
		return err
	}
	for i, h := range s.Hooks.CreateContainer {
		if err := runHook(h, state); err != nil {
			return fault.New(fault.Invalid, "error running createContainer hook #%d: %w", i, err)
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// bindForHooks shows one bind of the spec. The image decides what its path leads to, so
// it is resolved inside of root.
func bindForHooks(root *os.File, m specs.Mount) error {
	f, err := mount.Bind(m.Source, false)
	if err != nil {
		return err
	}
	defer f.Close()
	directory, err := isDirectory(f)
	if err != nil {
		return err
	}
	make := mount.CreateIn
	if directory {
		make = mount.MkdirIn
	}
	at, err := make(root, m.Destination, 0o755, 0, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	return mount.AttachAt(f, at)
}

// hookTime bounds a hook that says nothing else.
const hookTime = 2 * time.Minute

func runHook(h specs.Hook, state []byte) error {
	limit := hookTime
	if h.Timeout != nil {
		limit = time.Duration(*h.Timeout) * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		c.Args = h.Args
	}
	c.Env = append([]string{}, h.Env...) // nil would be the engine's own
	c.Stdin = bytes.NewReader(state)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", h.Path, err, strings.TrimSpace(out.String()))
	}
	return nil
}
