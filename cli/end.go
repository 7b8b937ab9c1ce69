package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newStop(a *app) *cobra.Command {
	return a.stopping("stop", "Stop one or more running containers", (*client.Client).ContainerStop)
}

func newRestart(a *app) *cobra.Command {
	return a.stopping("restart", "Restart one or more containers", (*client.Client).ContainerRestart)
}

// stopping is a command that stops containers by a signal and after a time.
func (a *app) stopping(verb, about string, stop func(c *client.Client, ctx context.Context, name, sig string, timeout *int) error) *cobra.Command {
	var sig string
	var seconds int
	cmd := &cobra.Command{Use: verb + " [OPTIONS] CONTAINER [CONTAINER...]", Short: about, Args: args(1, -1)}
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		var timeout *int
		if cmd.Flags().Changed("timeout") || cmd.Flags().Changed("time") {
			timeout = &seconds
		}
		return a.together(args, func(name string) error { return stop(c, ctx, name, sig, timeout) })
	})
	f := cmd.Flags()
	f.StringVarP(&sig, "signal", "s", "", "Signal to send to it")
	f.IntVarP(&seconds, "timeout", "t", 0, "Seconds to wait before it is killed, -1 for ever")
	f.IntVar(&seconds, "time", 0, "Former name of --timeout")
	f.MarkHidden("time")
	return cmd
}

// together does the same to several containers at once, in order of names on output.
func (a *app) together(names []string, f func(string) error) error {
	ends := make([]chan error, len(names))
	slots := make(chan struct{}, 50)
	for i, n := range names {
		ends[i] = make(chan error, 1)
		go func() {
			slots <- struct{}{}
			ends[i] <- f(n)
			<-slots
		}()
	}
	i := 0
	return a.each(names, func(string) error { i++; return <-ends[i-1] })
}

func newKill(a *app) *cobra.Command {
	var sig string
	cmd := &cobra.Command{Use: "kill [OPTIONS] CONTAINER [CONTAINER...]", Short: "Kill one or more running containers", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.together(args, func(name string) error { return c.ContainerKill(ctx, name, sig) })
		})}
	cmd.Flags().StringVarP(&sig, "signal", "s", "", "Signal to send to it (KILL)")
	return cmd
}

func newRm(a *app) *cobra.Command {
	var force, link, volumes bool
	cmd := &cobra.Command{Use: "rm [OPTIONS] CONTAINER [CONTAINER...]", Short: "Remove one or more containers", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.together(args, func(name string) error {
				err := c.ContainerRemove(ctx, name, force, volumes, link)
				if force && client.StatusOf(err) == 404 {
					// It is as it should be; docker prints the error and succeeds.
					fmt.Fprintln(a.Err, message(err))
					return errQuiet
				}
				return err
			})
		})}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Remove it though it is running, by killing it")
	f.BoolVarP(&link, "link", "l", false, "Remove the link of this name")
	f.BoolVarP(&volumes, "volumes", "v", false, "Remove its anonymous volumes, too")
	return cmd
}

func newWait(a *app) *cobra.Command {
	return &cobra.Command{Use: "wait CONTAINER [CONTAINER...]", Short: "Block until one or more containers stop, then print their exit codes", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			failed := false
			for _, name := range args {
				code, err := waitOne(ctx, c, name)
				if ctx.Err() != nil {
					return &exit{code: 130}
				}
				if err != nil {
					fmt.Fprintln(a.Err, message(err))
					failed = true
					continue
				}
				fmt.Fprintln(a.Out, code)
			}
			if failed {
				return &exit{code: codeFailure}
			}
			return nil
		})}
}

func waitOne(ctx context.Context, c *client.Client, name string) (int, error) {
	w, err := c.ContainerWait(ctx, name, container.WaitConditionNotRunning)
	if err != nil {
		return 0, err
	}
	r := <-await(ctx, c, name, w, container.WaitConditionNotRunning)
	return r.code, r.err
}
