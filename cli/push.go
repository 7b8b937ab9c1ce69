package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newPush(a *app) *cobra.Command {
	var o transferFlags
	cmd := &cobra.Command{Use: "push [OPTIONS] NAME[:TAG]", Short: "Upload an image to a registry", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.push(ctx, c, args[0], o)
		})}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all-tags", "a", false, "Push all tags of the repository")
	f.StringVar(&o.platform, "platform", "", "Push this platform's manifest only, os/arch[/variant], without the index and what else it has")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print the image's name only")
	return cmd
}

func (a *app) push(ctx context.Context, c *client.Client, name string, o transferFlags) error {
	if o.platform != "" {
		fmt.Fprintf(a.Err, "NOTE: only the manifest for %s is pushed: leave out --platform for the whole index, with its other platforms and attestations\n", o.platform)
	}
	var notes []string
	whole, err := a.transfer(ctx, c, name, o, func(ctx context.Context, name string, t client.TransferOptions, f client.Progress) error {
		return c.ImagePush(ctx, name, t, func(m jsonstream.Message) error {
			if m.Aux == nil {
				return f(m)
			}
			if n := pushNote(*m.Aux); n != "" {
				notes = append(notes, n)
			}
			return nil
		})
	})
	for _, n := range notes {
		fmt.Fprintln(a.Err, "NOTE:", n)
	}
	if err == nil && o.quiet {
		_, err = fmt.Fprintln(a.Out, whole)
	}
	return err
}

// pushNote tells people what programs are told of a push; "" for what people see anyway.
func pushNote(aux []byte) string {
	var m struct { // api/types/auxprogress
		ManifestPushedInsteadOfIndex    bool
		OriginalIndex, SelectedManifest ocispec.Descriptor
		ContentMissing                  bool
	}
	switch err := json.Unmarshal(aux, &m); {
	case err != nil:
		return ""
	case m.ManifestPushedInsteadOfIndex:
		return fmt.Sprintf("not all platforms of the image are here: the one that is was pushed, %s in place of the index %s", m.SelectedManifest.Digest, m.OriginalIndex.Digest)
	case m.ContentMissing:
		return "the image's index names platforms that are neither here nor in the registry's repository: pull them, or push one by --platform"
	}
	return ""
}
