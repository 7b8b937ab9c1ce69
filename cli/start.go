package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"hoy/cli/terminal"
	"hoy/client"
)

func newStart(a *app) *cobra.Command {
	var attach, interactive bool
	var keys, checkpoint, checkpointDir string
	c := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Args:  args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case checkpoint != "" || checkpointDir != "":
				return &usage{"hoy start", "checkpoints are not built yet: start without --checkpoint", codeEngine}
			case !attach && !interactive:
				return a.each(args, func(name string) error { return c.ContainerStart(ctx, name, "") })
			case len(args) > 1:
				return &usage{"hoy start", "you cannot start and attach multiple containers at once", codeFailure}
			}
			return a.startAttached(ctx, c, args[0], interactive, a.detachKeys(keys))
		}),
	}
	f := c.Flags()
	f.BoolVarP(&attach, "attach", "a", false, "Attach to its output and pass signals on")
	f.BoolVarP(&interactive, "interactive", "i", false, "Attach to its standard input")
	f.StringVar(&keys, "detach-keys", "", "Keys that detach from it (ctrl-p,ctrl-q)")
	f.StringVar(&checkpoint, "checkpoint", "", "Restore from this checkpoint (not built yet)")
	f.StringVar(&checkpointDir, "checkpoint-dir", "", "Folder of checkpoints (not built yet)")
	return c
}

func (a *app) startAttached(ctx context.Context, c *client.Client, name string, interactive bool, keys string) error {
	now, _, err := c.ContainerInspect(ctx, name, false)
	if err != nil {
		return err
	}
	conf := container.Config{Tty: now.Config.Tty, AttachStdin: interactive && now.Config.OpenStdin, AttachStdout: true, AttachStderr: true}
	if conf.Tty && conf.AttachStdin && !isTerminal(a.In) {
		return errNoTTY
	}
	t := &attached{a: a, c: c, id: now.ID, wire: a.wiring(&conf, keys),
		opts: client.AttachOptions{Stdin: conf.AttachStdin, Stdout: true, Stderr: true, DetachKeys: keys}}
	defer t.close()
	begin := func() {}
	if !conf.Tty {
		b, stop := a.proxy(ctx, c, now.ID)
		begin = b
		defer stop()
	}
	cond := container.WaitConditionNextExit
	if now.HostConfig != nil && now.HostConfig.AutoRemove {
		cond = container.WaitConditionRemoved
	}
	if err := t.open(ctx, cond); err != nil {
		return err
	}
	restore, err := t.wire.raw(a)
	if err != nil {
		return err
	}
	defer restore()
	if err := c.ContainerStart(ctx, now.ID, keys); err != nil {
		return err
	}
	begin()
	defer t.tty(ctx)()
	return a.left(t.hold(ctx), true)
}

func newAttach(a *app) *cobra.Command {
	var noStdin bool
	var sigProxy bool
	var keys string
	c := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach local standard input, output, and error streams to a running container",
		Args:  args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.attach(ctx, c, args[0], !noStdin, sigProxy, a.detachKeys(keys))
		}),
	}
	f := c.Flags()
	f.BoolVar(&noStdin, "no-stdin", false, "Do not attach standard input")
	f.BoolVar(&sigProxy, "sig-proxy", true, "Pass our signals on to it (without a terminal)")
	f.StringVar(&keys, "detach-keys", "", "Keys that detach from it (ctrl-p,ctrl-q)")
	return c
}

func (a *app) attach(ctx context.Context, c *client.Client, name string, stdin, sigProxy bool, keys string) error {
	now, _, err := c.ContainerInspect(ctx, name, false)
	if err != nil {
		return err
	}
	switch s := now.State; {
	case !s.Running:
		return errors.New("you cannot attach to a stopped container, start it first")
	case s.Paused:
		return errors.New("you cannot attach to a paused container, unpause it first")
	case s.Restarting:
		return errors.New("you cannot attach to a restarting container, wait until it is running")
	}
	conf := container.Config{Tty: now.Config.Tty, AttachStdin: stdin && now.Config.OpenStdin, AttachStdout: true, AttachStderr: true}
	if conf.Tty && conf.AttachStdin && !isTerminal(a.In) {
		return errNoTTY
	}
	t := &attached{a: a, c: c, id: now.ID, wire: a.wiring(&conf, keys), running: true,
		opts: client.AttachOptions{Stdin: conf.AttachStdin, Stdout: true, Stderr: true, DetachKeys: keys}}
	defer t.close()
	if err := t.open(ctx, container.WaitConditionNotRunning); err != nil {
		return err
	}
	if sigProxy && !conf.Tty {
		begin, stop := a.proxy(ctx, c, now.ID)
		begin()
		defer stop()
	}
	restore, err := t.wire.raw(a)
	if err != nil {
		return err
	}
	defer restore()
	if rows, cols := terminal.Size(a.Out); conf.Tty && rows != 0 {
		// Two sizes make a program that is running draw its screen again.
		if err := c.ContainerResize(ctx, now.ID, rows+1, cols+1); err != nil {
			fmt.Fprintln(a.Err, "WARNING:", err)
		}
	}
	defer t.tty(ctx)()
	return a.left(t.hold(ctx), false)
}
