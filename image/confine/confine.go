// Package confine unpacks the layers of foreign images in processes that can do
// nothing else.
//
// What is foreign in an image is met in three places, and this is what runs where:
//
//   - Compressed bytes are hashed and decompressed in the engine: in Go, with bounded
//     windows (extract.Decompress). A decompressor that ran in the child could claim
//     any plain stream, and the digest of that stream, which names the layer for all
//     images that share it, is taken in the engine for that reason. So what a child
//     can spoil is the layer that it was given, never one with another digest.
//   - The plain tar stream, which says which names, links, devices, owners and
//     attributes to make, is read in a child, one for each layer: a child that a
//     layer has taken over must not come to write another layer, that of a base
//     image for instance.
//   - What the child says about the layer is a few numbers and names, which the engine
//     treats as it does an image's: bounded, and resolved inside the layer only.
//
// The child is the program Unpacker was made with, executed by a spawn script, and so
// confined before its first instruction:
//
//   - new mount, network, PID, IPC, UTS namespaces; the root is a read-only tmpfs with
//     the layer's directory (nodev, nosuid, noexec) and a procfs of the child alone;
//   - the capabilities to set owners, modes, file capabilities, and to make device
//     nodes, which cannot be opened there; no CAP_SYS_ADMIN, so that the engine itself
//     makes directories opaque (extract.MarkOpaque), and the attributes trusted.* and
//     security.* but capability are dropped;
//   - no_new_privs, landlock where the kernel has it, a list of allowed system calls,
//     limits to memory and descriptors.
//
// Without these it does not run: there is no way back to unpacking in the engine, but
// for landlock, which the engine's warnings then miss.
package confine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
	"hoy/linux/landlock"
	"hoy/linux/pidfd"
	"hoy/linux/seccomp"
	"hoy/linux/spawn"
)

// An Unpacker unpacks layers in children. It is safe for concurrent use.
type Unpacker struct {
	exe    *os.File // O_PATH, where nobody can write to it
	args   []string
	filter seccomp.Filter
	null   *os.File
}

// New returns an unpacker whose children execute the program exe with args. Its main
// must then return Main's result.
func New(exe string, args ...string) (_ *Unpacker, err error) {
	path, done, err := spawn.Unwritable(exe)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare unpacking: %w", err)
	}
	defer done()
	u := &Unpacker{args: append([]string{exe}, args...)}
	defer func() {
		if err != nil {
			u.Close()
		}
	}()
	if u.exe, err = os.OpenFile(path, unix.O_PATH, 0); err != nil {
		return nil, fmt.Errorf("cannot prepare unpacking: %w", err)
	}
	if err := static(path); err != nil {
		return nil, fmt.Errorf("cannot prepare unpacking by %s: %w", exe, err)
	}
	if u.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("cannot prepare unpacking: %w", err)
	}
	if u.filter, err = seccomp.Compile(allowed()); err != nil {
		return nil, fmt.Errorf("cannot prepare unpacking: %w", err)
	}
	return u, nil
}

// static refuses a program with an interpreter, which is not in the child's root.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is not linked statically (CGO_ENABLED=0)")
		}
	}
	return nil
}

// Close lets go of the program. Layers being unpacked are not affected.
func (u *Unpacker) Close() error { return errors.Join(u.exe.Close(), u.null.Close()) }

// Landlock reports whether children are under landlock.
func Landlock() bool { return landlock.Version() > 0 }

// startTime is how long a child may take from its birth to its exec.
const startTime = 30 * time.Second

// Layer is extract.Layer in a child. r is read by the caller's goroutine alone, and
// not after Layer has returned. When ctx ends, the child does; r must see to itself.
func (u *Unpacker) Layer(ctx context.Context, root *os.File, r io.Reader, limits extract.Limits) (extract.Result, error) {
	c, err := u.start(root)
	if err != nil {
		return extract.Result{}, fmt.Errorf("cannot unpack layer in a confined process: %w", err)
	}
	defer c.end()
	defer context.AfterFunc(ctx, c.kill)()
	res, err := c.unpack(r, limits)
	switch {
	case err != nil && ctx.Err() != nil:
		return res, ctx.Err()
	case errors.Is(err, errGone):
		return res, fmt.Errorf("cannot unpack layer: the confined process has ended%s", c.lastWords())
	case err != nil:
		return res, err
	}
	return res, extract.MarkOpaque(root, res.Opaque)
}

// errGone: the child has closed its socket.
var errGone = errors.New("it has ended")

// child is the engine's side of a child.
type child struct {
	spawn.Child
	conn *os.File // SOCK_SEQPACKET
	ring *ring
	said *os.File // its standard error
}

// end ends the child, whatever it does, and frees what is the engine's of it. Once it
// has returned nobody writes to the layer.
func (c *child) end() {
	c.kill()
	pidfd.Wait(context.Background(), c.Pidfd)
	unix.Waitid(unix.P_PID, c.Pid, nil, unix.WEXITED|unix.WALL, nil)
	c.Pidfd.Close()
	c.conn.Close()
	c.ring.close()
	c.said.Close()
}

func (c *child) kill() { pidfd.Signal(c.Pidfd, unix.SIGKILL) }

// maxSaid is how much of a child's standard error is kept.
const maxSaid = 4096

// lastWords are what a child that has ended without an answer wrote, in brackets: the
// Go runtime's reason mostly.
func (c *child) lastWords() string {
	b := make([]byte, maxSaid)
	n, _ := c.said.ReadAt(b, 0)
	said, _, _ := strings.Cut(strings.TrimSpace(printable(strings.TrimRight(string(b[:n]), "\x00"))), "\n")
	if said == "" {
		return ""
	}
	return " (" + said + ")"
}

// printable leaves out what a terminal would take for a command.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
