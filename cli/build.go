package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"hoy/cli/buildcontext"
	"hoy/cli/options"
	"hoy/cli/progress"
	"hoy/client"
	"hoy/lib/buildlog"
)

func newBuild(a *app) *cobra.Command {
	o := new(options.Build)
	cmd := &cobra.Command{Use: "build [OPTIONS] PATH | URL | -", Short: "Build an image from a Dockerfile", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.build(ctx, c, o, args[0])
		})}
	o.Register(cmd.Flags())
	return cmd
}

func (a *app) build(ctx context.Context, c *client.Client, o *options.Build, context string) error {
	e := options.System()
	e.Proxies = a.config().ProxyVariables(c.Host())
	request, outputs, err := o.Request(e)
	if err != nil {
		return err
	}
	for _, w := range o.Warnings() {
		fmt.Fprintln(a.Err, "WARNING:", w)
	}
	// What an earlier build wrote must not be taken for this one's.
	if o.IIDFile != "" {
		if err := os.Remove(o.IIDFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing image ID file: %w", err)
		}
	}
	from, err := buildcontext.Open(buildcontext.Source{Context: context, Dockerfile: o.File, In: a.In, Named: o.Contexts})
	if err != nil {
		return err
	}
	request.Remote, request.Archive, request.Files, request.URLs, request.Dockerfile = from.Remote, from.Archive, from.Files, from.URLs, from.Dockerfile
	w, err := a.openOutputs(outputs)
	if err != nil {
		return err
	}
	request.Auth = a.allCredentials()
	result, err := a.runBuild(ctx, c, o, request, w)
	if e := w.close(err); err == nil {
		err = e
	}
	if err != nil {
		return buildError(err)
	}
	return a.built(o, result)
}

// allCredentials are those of all registries: only the engine will know which it needs.
func (a *app) allCredentials() map[string]registry.AuthConfig {
	warn := func(err error) { fmt.Fprintf(a.Err, "WARNING: %v: going on without\n", err) }
	s, err := a.credentialStore()
	if err != nil {
		warn(err)
		return nil
	}
	return s.All(warn)
}

// runBuild shows a build while it goes on, and returns its last event.
func (a *app) runBuild(ctx context.Context, c *client.Client, o *options.Build, r client.BuildOptions, w *buildOutputs) (*buildlog.Result, error) {
	mode := a.buildMode(o)
	show, err := progress.NewBuild(a.Err, progress.Options{Mode: mode, Verbose: o.Debug || a.global.debug, Asking: r.Method != "", Size: sizeOf(a.Err), Now: time.Now})
	if err != nil {
		return nil, err
	}
	stop := redraw(show.Redraw)
	var result *buildlog.Result
	err = untilSignal(ctx, func(ctx context.Context) error {
		return c.Build(ctx, r, func(e *buildlog.Event) error {
			if e.Result != nil {
				result = e.Result
			}
			return errors.Join(show.Show(e), w.take(e))
		})
	})
	stop()
	if e := show.Close(); err == nil {
		err = e
	}
	if err == nil && result == nil {
		err = errors.New("the engine ended without saying how the build did")
	}
	if r.Method == "lint" && err == nil && !o.Call.JSON {
		a.checked(show.Warnings())
	}
	return result, err
}

// buildMode is how the build is shown.
func (a *app) buildMode(o *options.Build) string {
	switch {
	case o.Quiet || o.Progress == "none" || o.Progress == "quiet":
		return "quiet"
	case o.Progress != "auto":
		return o.Progress
	case isTerminal(a.Err) && os.Getenv("TERM") != "dumb":
		return "tty"
	}
	return "plain"
}

// buildError puts a build that failed in docker's words.
func buildError(err error) error {
	var f *client.BuildFailure
	if errors.As(err, &f) {
		return &exit{codeFailure, fmt.Errorf("ERROR: failed to build: failed to solve: %s", strings.TrimPrefix(f.Why.Message, "failed to solve: "))}
	}
	return err
}

// checked says what asking for checks has found.
func (a *app) checked(found []buildlog.Warning) {
	switch n := len(found); n {
	case 0:
		fmt.Fprintln(a.Out, "Check complete, no warnings found.")
	case 1:
		fmt.Fprintln(a.Out, "Check complete, 1 warning has been found!")
	default:
		fmt.Fprintf(a.Out, "Check complete, %d warnings have been found!\n", n)
	}
	for i := range found {
		fmt.Fprintf(a.Out, "\n%s", progress.WarningDetails(&found[i]))
	}
}
