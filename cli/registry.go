package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoy/registry/builtin"
)

func newRegistry(a *app) *cobra.Command {
	var o builtin.Options
	cmd := &cobra.Command{Use: "registry [OPTIONS]", Short: "Run a registry of images, for this machine and its neighbours", Args: args(0, 0)}
	o.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		program, err := beside("hoy-registry")
		if err != nil {
			return err
		}
		words := []string{program}
		cmd.Flags().Visit(func(f *pflag.Flag) { words = append(words, "--"+f.Name+"="+f.Value.String()) })
		return a.become(words)
	}
	return cmd
}

// beside finds a program of ours: where this one is, then on the PATH.
func beside(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if self, err = filepath.EvalSymlinks(self); err == nil {
			p := filepath.Join(filepath.Dir(self), name+filepath.Ext(self))
			if _, err := os.Stat(p); err == nil {
				return p, nil
			}
		}
	}
	p, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is neither beside hoy nor on the PATH: it comes with hoy's packages and from 'make build'", name)
	}
	return p, err
}
