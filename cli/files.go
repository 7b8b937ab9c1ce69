package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"hoy/cli/terminal"
	"hoy/client"
)

func newDiff(a *app) *cobra.Command {
	return &cobra.Command{Use: "diff CONTAINER", Short: "Inspect changes to files or directories on a container's filesystem", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			changes, err := c.ContainerChanges(ctx, args[0])
			if err != nil {
				return err
			}
			out := terminal.Plain(a.Out)
			for _, ch := range changes {
				if _, err := fmt.Fprintln(out, ch.Kind, ch.Path); err != nil {
					return err
				}
			}
			return nil
		})}
}

func newExport(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "export [OPTIONS] CONTAINER", Short: "Export a container's filesystem as a tar archive", Args: args(1, 1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			return a.toFile(output, func() (io.ReadCloser, error) { return c.ContainerExport(ctx, args[0]) })
		})}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to this file, not to standard output")
	return cmd
}

// toFile writes what get gives to a file, or to standard output when that has no name
// and is no terminal. A file is whole or not there.
func (a *app) toFile(name string, get func() (io.ReadCloser, error)) error {
	if name == "" && isTerminal(a.Out) {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	if name != "" {
		if err := checkOutput(name); err != nil {
			return err
		}
	}
	in, err := get()
	if err != nil {
		return err
	}
	defer in.Close()
	if name == "" {
		_, err := io.Copy(a.Out, in)
		return err
	}
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // a FIFO: written as it comes
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		return errors.Join(err, f.Close())
	}
	// Under a name that is nobody's: in a folder of everybody's another may have put a link.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".part")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// checkOutput refuses files that cannot be written, before anything is asked for.
func checkOutput(name string) error {
	t, err := localTarget(name)
	if err != nil {
		return err
	}
	if t.isDir {
		return fmt.Errorf("invalid output path: %q is a directory", name)
	}
	return nil
}
