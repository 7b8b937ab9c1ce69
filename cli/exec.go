package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/cli/terminal"
	"hoy/client"
)

type execFlags struct {
	container.ExecCreateRequest
	detach, interactive bool
	env, envFile        *options.ListFlag
}

func newExec(a *app) *cobra.Command {
	o := execFlags{env: options.NewEnvFlag(), envFile: options.NewListFlag()}
	c := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Args:  args(2, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			var err error
			if o.Env, err = options.System().Variables(o.envFile.Values(), o.env.Values()); err != nil {
				return &usage{"hoy exec", err.Error(), codeEngine}
			}
			o.Cmd, o.DetachKeys = args[1:], a.detachKeys(o.DetachKeys)
			return a.exec(ctx, c, &o, args[0])
		}),
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run it in the background")
	f.StringVar(&o.DetachKeys, "detach-keys", "", "Keys that detach from it (ctrl-p,ctrl-q)")
	f.VarP(o.env, "env", "e", "Set an environment variable, NAME=value; NAME alone takes ours")
	f.Var(o.envFile, "env-file", "Read environment variables from a file")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep standard input open")
	f.BoolVar(&o.Privileged, "privileged", false, "Give it every right that the engine has")
	f.BoolVarP(&o.Tty, "tty", "t", false, "Give it a terminal")
	f.StringVarP(&o.User, "user", "u", "", "User: name or uid[:group or gid]")
	f.StringVarP(&o.WorkingDir, "workdir", "w", "", "Working directory")
	return c
}

func (a *app) exec(ctx context.Context, c *client.Client, o *execFlags, name string) error {
	if !o.detach {
		o.AttachStdin, o.AttachStdout, o.AttachStderr = o.interactive, true, true
		if o.Tty && o.AttachStdin && !isTerminal(a.In) {
			return errNoTTY
		}
	}
	if rows, cols := terminal.Size(a.Out); o.Tty && rows != 0 {
		o.ConsoleSize = &[2]uint{uint(rows), uint(cols)}
	}
	id, err := c.ExecCreate(ctx, name, o.ExecCreateRequest)
	if err != nil {
		return err
	}
	start := container.ExecStartRequest{Tty: o.Tty, ConsoleSize: o.ConsoleSize}
	if o.detach {
		return c.ExecDetached(ctx, id, start)
	}
	s, err := c.ExecAttach(ctx, id, start)
	if err != nil {
		return err
	}
	defer s.Close()
	return a.execAttached(ctx, c, o, id, s)
}

func (a *app) execAttached(ctx context.Context, c *client.Client, o *execFlags, id string, s *client.Stream) error {
	w := wiring{out: a.Out, err: a.Err, tty: o.Tty, keys: o.DetachKeys}
	if o.interactive {
		w.in = a.In
	}
	restore, err := w.raw(a)
	if err != nil {
		return err
	}
	defer restore()
	if o.Tty && isTerminal(a.Out) {
		defer a.watchSize(func(rows, cols uint16) error { return c.ExecResize(ctx, id, rows, cols) })()
	}
	if err := w.copy(ctx, s); err != nil {
		return a.left(err, false)
	}
	return a.execResult(ctx, c, id)
}

// execResult returns the exit of a command whose output has ended. The end of the
// output may be here before the engine has heard of the exit.
func (a *app) execResult(ctx context.Context, c *client.Client, id string) error {
	var r container.ExecInspectResponse
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := again(ctx, func() (err error) {
			r, err = c.ExecInspect(ctx, id)
			return err
		})
		switch {
		case err != nil:
			return err
		case !r.Running && r.ExitCode != nil && *r.ExitCode != 0:
			return &exit{code: *r.ExitCode}
		case !r.Running && r.ExitCode != nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the connection to the command ended, but it runs on in %s", r.ContainerID)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
