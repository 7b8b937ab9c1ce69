package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/client"
)

func newLoad(a *app) *cobra.Command {
	var input string
	var quiet bool
	platforms := options.NewListFlag()
	cmd := &cobra.Command{Use: "load [OPTIONS]", Short: "Load an image from a tar archive or STDIN", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) error {
			in := a.In
			if input != "" {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			} else if isTerminal(a.In) {
				return errors.New("requested load from stdin, but stdin is a terminal: name the archive by -i FILE")
			}
			// Quiet leaves out progress; the names of what was loaded always come.
			return c.ImageLoad(ctx, in, true, platforms.Values(), func(m jsonstream.Message) error {
				_, err := io.WriteString(a.Out, m.Stream)
				return err
			})
		})}
	f := cmd.Flags()
	f.StringVarP(&input, "input", "i", "", "Read from this archive, not from standard input")
	f.BoolVarP(&quiet, "quiet", "q", false, "Do not show progress")
	f.Var(platforms, "platform", "Load this platform only")
	return cmd
}

func newImport(a *app) *cobra.Command {
	o := client.ImportOptions{Source: "-"}
	changes := options.NewListFlag()
	cmd := &cobra.Command{Use: "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]", Short: "Import the contents from a tarball to create a filesystem image", Args: args(1, 2),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) (err error) {
			o.Changes = changes.Values()
			if len(args) > 1 {
				if o.Repo, o.Tag, err = splitName(args[1]); err != nil {
					return err
				}
			}
			var in io.Reader
			if isURL(args[0]) {
				o.Source = args[0] // the engine fetches it
			} else {
				var done func() error
				if in, done, err = a.archive(args[0]); err != nil {
					return err
				}
				defer done()
			}
			return c.ImageImport(ctx, in, o, func(m jsonstream.Message) error {
				_, err := fmt.Fprintln(a.Out, m.Status)
				return err
			})
		})}
	f := cmd.Flags()
	f.VarP(changes, "change", "c", "Apply a Dockerfile instruction, like 'CMD [\"sh\"]'")
	f.StringVarP(&o.Message, "message", "m", "", "Comment of the image")
	f.StringVar(&o.Platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Platform of the image, os/arch[/variant]")
	return cmd
}

func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// archive opens what import is given.
func (a *app) archive(name string) (io.Reader, func() error, error) {
	if name == "-" {
		return a.In, func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}
