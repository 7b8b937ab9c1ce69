package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/cli/terminal"
	"hoy/client"
)

// runFlags are the flags of run.
type runFlags struct {
	options.Create
	detach   bool
	sigProxy bool
	keys     string
}

func newRun(a *app) *cobra.Command {
	var o runFlags
	c := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create and run a new container from an image",
		Args:  args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.runContainer(ctx, c, &o, args)
		}),
	}
	f := c.Flags()
	o.Register(f)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run it in the background and print its id")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "Pass our signals on to it (without a terminal)")
	f.StringVar(&o.keys, "detach-keys", "", "Keys that detach from it (ctrl-p,ctrl-q)")
	return c
}

func newCreate(a *app) *cobra.Command {
	var o options.Create
	c := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a new container",
		Args:  args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			req, err := o.Request(args, a.env(c))
			if err != nil {
				return &usage{"hoy create", err.Error(), codeEngine}
			}
			id, err := a.create(ctx, c, &o, req)
			if err == nil {
				fmt.Fprintln(a.Out, id)
			}
			return err
		}),
	}
	o.Register(c.Flags())
	return c
}

// env is what the flags may refer to; of an engine that we reach by a socket, that too.
func (a *app) env(c *client.Client) options.Env {
	e := options.System()
	e.Proxies = a.config().ProxyVariables(c.Host())
	if path, ok := strings.CutPrefix(c.Host(), "unix://"); ok {
		e.Socket = path
	}
	e.Console = func() (rows, cols uint) {
		r, c := terminal.Size(a.Out)
		return uint(r), uint(c)
	}
	return e
}

// engineError is a failure of run: named as docker names it, code 125.
func engineError(err error) error {
	var ended *exit
	if errors.As(err, &ended) { // by a signal
		return err
	}
	text := err.Error()
	if !strings.HasPrefix(text, "hoy: ") {
		text = "hoy: " + text
	}
	return &exit{codeEngine, errors.New(text)}
}

// create makes the container and writes its id to --cidfile.
func (a *app) create(ctx context.Context, c *client.Client, o *options.Create, r *container.CreateRequest) (string, error) {
	cid, err := newIDFile(o.CIDFile)
	if err != nil {
		return "", err
	}
	defer cid.close()
	created, err := a.createPulling(ctx, c, o, r)
	if err != nil {
		return "", err
	}
	for _, w := range created.Warnings {
		fmt.Fprintln(a.Err, "WARNING:", w)
	}
	return created.ID, cid.write(created.ID)
}

// createPulling makes the container, and brings in its image where it has to come from a
// registry. Of that nothing goes to standard output, where the id is expected.
func (a *app) createPulling(ctx context.Context, c *client.Client, o *options.Create, r *container.CreateRequest) (container.CreateResponse, error) {
	pull := func() error { return a.pullFor(ctx, c, r.Image, o) }
	if o.Pull == "always" {
		if err := pull(); err != nil {
			return container.CreateResponse{}, err
		}
	}
	created, err := c.ContainerCreate(ctx, *r, o.Name, o.Platform)
	if o.Pull != "missing" || !missesImage(err, r) {
		return created, err
	}
	if !o.Quiet {
		fmt.Fprintf(a.Err, "Unable to find image '%s' locally\n", parseImageName(r.Image).tagged())
	}
	if err := pull(); err != nil {
		return created, err
	}
	return c.ContainerCreate(ctx, *r, o.Name, o.Platform)
}

// missesImage says whether a container's image is not here, though it may be elsewhere.
func missesImage(err error, r *container.CreateRequest) bool {
	return client.StatusOf(err) == 404 && strings.Contains(strings.ToLower(err.Error()), "no such image") &&
		!namesMount(err, r.HostConfig) && !isImageID(r.Image)
}

// namesMount says whether the image that is missing is one to be mounted.
func namesMount(err error, h *container.HostConfig) bool {
	return slices.ContainsFunc(h.Mounts, func(m mount.Mount) bool {
		return m.Type == mount.TypeImage && strings.Contains(err.Error(), m.Source)
	})
}

// idFile is --cidfile. Nothing is left of it unless an id was written.
type idFile struct {
	f       *os.File
	written bool
}

func newIDFile(name string) (*idFile, error) {
	if name == "" {
		return &idFile{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", name)
	} else if err != nil {
		return nil, fmt.Errorf("cannot create the container ID file: %w", err)
	}
	return &idFile{f: f}, nil
}

func (i *idFile) write(id string) error {
	if i.f == nil {
		return nil
	}
	_, err := i.f.WriteString(id)
	i.written = err == nil
	return err
}

func (i *idFile) close() {
	if i.f == nil {
		return
	}
	i.f.Close()
	if !i.written {
		os.Remove(i.f.Name())
	}
}

func (a *app) runContainer(ctx context.Context, c *client.Client, o *runFlags, args []string) error {
	r, err := o.Request(args, a.env(c))
	if err == nil && o.detach && o.Attached() {
		return &usage{"hoy run", "conflicting options: cannot specify both --attach and --detach", codeFailure}
	}
	if err != nil {
		return &usage{"hoy run", err.Error(), codeEngine}
	}
	if o.detach {
		r.AttachStdin, r.AttachStdout, r.AttachStderr, r.StdinOnce = false, false, false, false
	} else if r.Tty && r.AttachStdin && !isTerminal(a.In) {
		return errNoTTY
	}
	id, err := a.create(ctx, c, &o.Create, r)
	if err != nil {
		return engineError(err)
	}
	if o.detach || !r.AttachStdin && !r.AttachStdout && !r.AttachStderr {
		err := c.ContainerStart(ctx, id, "")
		fmt.Fprintln(a.Out, id) // also if it has not started: it is there
		if err != nil {
			return startError(err)
		}
		return nil
	}
	return a.runAttached(ctx, c, o, r, id)
}

// errNoTTY is docker's complaint, whose first words people search for.
var errNoTTY = errors.New("the input device is not a TTY: cannot attach stdin to a TTY-enabled container because stdin is not a terminal; leave out -t")

func (a *app) runAttached(ctx context.Context, c *client.Client, o *runFlags, r *container.CreateRequest, id string) error {
	o.keys = a.detachKeys(o.keys)
	t := &attached{a: a, c: c, id: id, wire: a.wiring(r.Config, o.keys),
		opts: client.AttachOptions{Stdin: r.AttachStdin, Stdout: r.AttachStdout, Stderr: r.AttachStderr, DetachKeys: o.keys}}
	defer t.close()
	begin := func() {}
	if o.sigProxy && !r.Tty {
		b, stop := a.proxy(ctx, c, id)
		begin = b
		defer stop()
	}
	cond := container.WaitConditionNextExit
	if r.HostConfig.AutoRemove {
		cond = container.WaitConditionRemoved
	}
	if err := t.open(ctx, cond); err != nil {
		return engineError(err)
	}
	restore, err := t.wire.raw(a)
	if err != nil {
		return err
	}
	defer restore()
	if err := c.ContainerStart(ctx, id, o.keys); err != nil {
		return startError(err)
	}
	begin()
	defer t.tty(ctx)()
	return a.left(t.hold(ctx), true)
}

// wiring connects our streams as the container's configuration says.
func (a *app) wiring(c *container.Config, keys string) wiring {
	w := wiring{tty: c.Tty, keys: keys}
	if c.AttachStdin {
		w.in = a.In
	}
	if c.AttachStdout {
		w.out = a.Out
	}
	if c.AttachStderr {
		w.err = a.Err
	}
	return w
}

// startError is a failure to start: its code says whether the command in the
// container is to blame, as shells have it.
func startError(err error) error {
	e := engineError(err).(*exit)
	e.code = startCode(err.Error())
	return e
}

func startCode(text string) int {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("executable file not found", "no such file or directory", "system cannot find the file specified"):
		return codeNotFound
	case has("permission denied", "is a directory", "exec format error", "cannot invoke"):
		return codeInvoke
	}
	return codeEngine
}
