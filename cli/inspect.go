package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client"
)

// inspector fetches one object, typed and in the engine's words.
type inspector func(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error)

func inspectContainer(size bool) inspector {
	return func(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error) {
		o, raw, err := c.ContainerInspect(ctx, name, size)
		return o, raw, err
	}
}

func inspectImage(platform string) inspector {
	return func(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error) {
		o, raw, err := c.ImageInspect(ctx, name, platform)
		return o, raw, err
	}
}

func inspectVolume(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error) {
	o, raw, err := c.VolumeInspect(ctx, name)
	return o, raw, err
}

func inspectNetwork(verbose bool) inspector {
	return func(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error) {
		o, raw, err := c.NetworkInspect(ctx, name, verbose)
		return o, raw, err
	}
}

// inspect prints the objects that exist, then reports those that do not.
func (a *app) inspect(ctx context.Context, c *client.Client, text string, names []string, get inspector) error {
	if text != "" {
		// A bad template is told before anything is asked.
		if _, err := format.Parse(text, false); err != nil {
			return &exit{64, err}
		}
	}
	var found []format.Object
	var failed []error
	for _, n := range names {
		o, raw, err := get(ctx, c, n)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		found = append(found, format.Object{Typed: o, Raw: raw})
	}
	if text == "" || len(found) > 0 {
		if err := format.Inspect(a.Out, text, found, isTerminal(a.Out)); err != nil {
			return err
		}
	}
	if len(failed) == 0 {
		return nil
	}
	for _, err := range failed {
		fmt.Fprintln(a.Err, message(err))
	}
	return &exit{code: codeFailure}
}

const formatHelp = "Format: json or a Go template"

func newContainerInspect(a *app) *cobra.Command {
	var text string
	var size bool
	c := &cobra.Command{Use: "inspect [OPTIONS] CONTAINER [CONTAINER...]", Short: "Display detailed information on one or more containers", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.inspect(ctx, c, text, args, inspectContainer(size))
		})}
	c.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	c.Flags().BoolVarP(&size, "size", "s", false, "Show sizes")
	return c
}

func newImageInspect(a *app) *cobra.Command {
	var text, platform string
	c := &cobra.Command{Use: "inspect [OPTIONS] IMAGE [IMAGE...]", Short: "Display detailed information on one or more images", Args: args(1, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.inspect(ctx, c, text, args, inspectImage(platform))
		})}
	c.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	c.Flags().StringVar(&platform, "platform", "", "Platform of the image, os/arch[/variant]")
	return c
}

func newInspect(a *app) *cobra.Command {
	var text, kind string
	var size bool
	c := &cobra.Command{Use: "inspect [OPTIONS] NAME|ID [NAME|ID...]", Short: "Return low-level information on hoy objects", Args: args(1, -1)}
	c.RunE = a.do(func(ctx context.Context, cl *client.Client, args []string) error {
		if c.Flags().Changed("type") && !slices.Contains([]string{"container", "image", "network", "volume"}, kind) {
			if slices.Contains([]string{"config", "node", "plugin", "secret", "service", "task"}, kind) {
				return fmt.Errorf("inspecting a %s is not built yet", kind)
			}
			return &usage{"hoy inspect", fmt.Sprintf("unknown type: %q: it is one of container, image, network, volume", kind), codeFailure}
		}
		return a.inspect(ctx, cl, text, args, inspectAny(kind, size))
	})
	c.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	c.Flags().BoolVarP(&size, "size", "s", false, "Show sizes, if it is a container")
	c.Flags().StringVar(&kind, "type", "", "Kind of object: container, image, network, volume")
	return c
}

// inspectAny looks for an object of any kind, in docker's order.
func inspectAny(kind string, size bool) inspector {
	kinds := []struct {
		name string
		get  inspector
	}{{"container", inspectContainer(size)}, {"image", inspectImage("")}, {"network", inspectNetwork(false)}, {"volume", inspectVolume}}
	return func(ctx context.Context, c *client.Client, name string) (any, json.RawMessage, error) {
		for _, k := range kinds {
			if kind != "" && kind != k.name {
				continue
			}
			o, raw, err := k.get(ctx, c, name)
			if err == nil || kind != "" {
				return o, raw, err
			}
			// A name may be malformed for one kind and fine for another.
			if s := client.StatusOf(err); s != 404 && s != 400 && s != 501 {
				return nil, nil, err
			}
		}
		return nil, nil, errors.New("Error: No such object: " + strings.TrimSpace(name))
	}
}
