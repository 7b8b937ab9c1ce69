package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"hoy/cli/tarball"
	"hoy/client"
)

func newCp(a *app) *cobra.Command {
	var c copying
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
		Short: "Copy files/folders between a container and the local filesystem",
		Args:  args(2, 2),
		RunE: a.do(func(ctx context.Context, cl *client.Client, args []string) error {
			c.app, c.client = a, cl
			return c.run(ctx, args[0], args[1])
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&c.archive, "archive", "a", false, "Give what is copied into a container to its user")
	f.BoolVarP(&c.follow, "follow-link", "L", false, "Copy what a link at SRC_PATH points to")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "Do not say how much was copied")
	return cmd
}

// copying is one cp. Its rules are docker's: what the destination is decides what the
// first name in the archive becomes.
type copying struct {
	app                    *app
	client                 *client.Client
	archive, follow, quiet bool
}

func (c *copying) run(ctx context.Context, from, to string) error {
	if from == "" {
		return errors.New("source can not be empty")
	}
	if to == "" {
		return errors.New("destination can not be empty")
	}
	fromContainer, src := splitCopy(from)
	toContainer, dst := splitCopy(to)
	switch {
	case fromContainer != "" && toContainer != "":
		return errors.New("copying between containers is not supported")
	case fromContainer != "":
		return c.download(ctx, fromContainer, src, dst)
	case toContainer != "":
		return c.upload(ctx, src, toContainer, dst)
	}
	return errors.New("must specify at least one container source")
}

// splitCopy tells CONTAINER:PATH from a local path, which may have a colon when it
// begins with "/" or ".".
func splitCopy(arg string) (container, p string) {
	if filepath.IsAbs(arg) || strings.HasPrefix(arg, string(filepath.Separator)) {
		return "", arg
	}
	container, p, ok := strings.Cut(arg, ":")
	if !ok || strings.HasPrefix(container, ".") {
		return "", arg
	}
	return container, p
}

func (c *copying) download(ctx context.Context, container, src, dst string) error {
	target := copyEnd{}
	if dst != "-" {
		var err error
		if target, err = localTarget(dst); err != nil {
			return err
		}
	}
	renamed := ""
	if c.follow {
		if s, err := c.client.StatPath(ctx, container, src); err == nil && s.Mode&fs.ModeSymlink != 0 {
			src, renamed = behindLink(src, s.LinkTarget)
		}
	}
	body, stat, err := c.client.CopyFrom(ctx, container, src)
	if err != nil {
		return err
	}
	defer body.Close()
	if dst == "-" {
		_, err := io.Copy(c.app.Out, body)
		return err
	}
	base := lastName(src)
	dir, name, err := target.place(stat.Mode.IsDir(), first(renamed, base))
	if err != nil {
		return err
	}
	counted := &counter{r: body}
	err = tarball.Unpack(filepath.FromSlash(dir), counted, renamer(base, name), func(w string) { fmt.Fprintln(c.app.Err, "WARNING:", w) })
	if err == nil {
		c.say(counted.n, dst)
	}
	return err
}

func (c *copying) upload(ctx context.Context, src, container, dst string) error {
	target, err := c.remoteTarget(ctx, container, dst)
	if err != nil {
		return err
	}
	if src == "-" {
		if !target.isDir {
			return fmt.Errorf("destination \"%s:%s\" must be a directory", container, dst)
		}
		return c.client.CopyTo(ctx, container, target.path, c.app.In, c.archive)
	}
	local, name, isDir, err := localSource(src, c.follow)
	if err != nil {
		return err
	}
	dir, name, err := target.place(isDir, name)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Pack(w, local, name)) }()
	counted := &counter{r: r}
	if err = c.client.CopyTo(ctx, container, dir, counted, c.archive); counted.err != nil {
		err = counted.err // the reason why the request broke off
	}
	r.CloseWithError(io.ErrClosedPipe) // ends the packing when the engine refused
	if err == nil {
		c.say(counted.n, container+":"+target.path)
	}
	return err
}

// remoteTarget looks at the destination in the container, behind a link too.
func (c *copying) remoteTarget(ctx context.Context, container, dst string) (copyEnd, error) {
	t := copyEnd{path: dst}
	s, err := c.client.StatPath(ctx, container, dst)
	if err == nil && s.Mode&fs.ModeSymlink != 0 {
		t.path = s.LinkTarget
		s, err = c.client.StatPath(ctx, container, t.path)
	}
	if err != nil {
		return t, nil // if the directory above is there, it may still work
	}
	if err := outputMode(s.Mode); err != nil {
		return t, fmt.Errorf("destination \"%s:%s\" must be a directory or a regular file: %w", container, dst, err)
	}
	t.exists, t.isDir = true, s.Mode.IsDir()
	return t, nil
}

// outputMode refuses what cannot be written to like a file.
func outputMode(m fs.FileMode) error {
	switch {
	case m&fs.ModeDevice != 0:
		return errors.New("got a device")
	case m&fs.ModeIrregular != 0:
		return errors.New("got an irregular file")
	}
	return nil
}

// counter counts what is read and remembers why reading failed.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// say tells a person what was copied.
func (c *copying) say(n int64, to string) {
	if !c.quiet && isTerminal(c.app.Out) {
		fmt.Fprintln(c.app.Err, "Successfully copied", units.HumanSizeWithPrecision(float64(n), 3), "to", to)
	}
}
