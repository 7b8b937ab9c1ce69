package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"hoy/cli/options"
	"hoy/client"
	"hoy/client/credentials"
)

// transferFlags are those of pull and push.
type transferFlags struct {
	all, quiet bool
	platform   string
}

func newPull(a *app) *cobra.Command {
	var o transferFlags
	cmd := &cobra.Command{Use: "pull [OPTIONS] NAME[:TAG|@DIGEST]", Short: "Download an image from a registry", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			whole, err := a.transfer(ctx, c, args[0], o, c.ImagePull)
			if err == nil {
				_, err = fmt.Fprintln(a.Out, whole)
			}
			return err
		})}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-tags", "a", false, "Pull all tags of the repository")
	f.StringVar(&o.platform, "platform", os.Getenv("DOCKER_DEFAULT_PLATFORM"), "Pull this platform, os/arch[/variant], if the image has several")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print the image's name only")
	return cmd
}

// transfer pulls or pushes, and returns the image's whole name, which docker prints at the
// end of a pull, and of a push that is quiet.
func (a *app) transfer(ctx context.Context, c *client.Client, text string, o transferFlags, move func(context.Context, string, client.TransferOptions, client.Progress) error) (whole string, err error) {
	name := parseImageName(text)
	switch {
	case o.all && !name.bare():
		return "", errors.New("tag can't be used with --all-tags/-a")
	case !o.all && name.bare():
		name.tag = "latest"
		if !o.quiet {
			fmt.Fprintln(a.Out, "Using default tag: latest")
		}
	}
	index, err := index(ctx, c)
	if err != nil {
		return "", err
	}
	opts := client.TransferOptions{Tag: name.reference(), Platform: o.platform, Auth: a.credentials(name.server(index))}
	err = a.show(ctx, a.Out, o.quiet, func(ctx context.Context, p client.Progress) error { return move(ctx, name.repository(), opts, p) })
	return name.full(index), err
}

// pullFor brings in the image of a container to be created. Progress goes to standard
// error.
func (a *app) pullFor(ctx context.Context, c *client.Client, image string, o *options.Create) error {
	name := parseImageName(image)
	if name.bare() {
		name.tag = "latest"
	}
	index, err := index(ctx, c)
	if err != nil {
		return err
	}
	opts := client.TransferOptions{Tag: name.reference(), Platform: o.Platform, Auth: a.credentials(name.server(index))}
	return a.show(ctx, a.Err, o.Quiet, func(ctx context.Context, p client.Progress) error {
		return c.ImagePull(ctx, name.repository(), opts, p)
	})
}

// credentialStore is where docker's and ours keeps credentials; those of the variable
// DOCKER_AUTH_CONFIG come first, as with docker.
func (a *app) credentialStore() (*credentials.Store, error) {
	choice := a.choice()
	s, err := credentials.Open(choice.File())
	if text := choice.Getenv("DOCKER_AUTH_CONFIG"); err == nil && text != "" {
		if err := s.Give(text); err != nil {
			fmt.Fprintf(a.Err, "WARNING: DOCKER_AUTH_CONFIG: %v: going on without\n", err)
		}
	}
	return s, err
}

// credentials are those that are kept for a server, nil for none. That they cannot be
// read is no reason to give up: most images ask for none.
func (a *app) credentials(server string) *registry.AuthConfig {
	if server == "" {
		return nil
	}
	s, err := a.credentialStore()
	if err != nil {
		fmt.Fprintf(a.Err, "WARNING: %v: going on without\n", err)
		return nil
	}
	auth, err := s.Get(server)
	if err != nil {
		fmt.Fprintf(a.Err, "WARNING: %v: going on without\n", err)
		return nil
	}
	return &auth
}
