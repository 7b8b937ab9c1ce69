package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/fvbommel/sortorder"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client/contexts"
)

// contextStore is where contexts are: docker's folder.
func (a *app) contextStore() contexts.Store { return contexts.In(a.choice().Dir()) }

// ofDefault describes the context that is not stored.
const ofDefault = "Current DOCKER_HOST based configuration"

// context returns a context, with its certificates.
func (a *app) context(name string) (*contexts.Context, contexts.TLS, error) {
	if name == contexts.Default {
		return a.choice().DefaultContext()
	}
	s := a.contextStore()
	c, err := s.Get(name)
	if err != nil {
		return nil, nil, err
	}
	tls, err := s.TLS(name)
	return c, tls, err
}

// contextRow is a context as ls shows it; its fields are docker's, by name.
type contextRow struct {
	Current                                  bool
	Description, DockerEndpoint, Error, Name string
}

func newContextLs(a *app) *cobra.Command {
	var text string
	var quiet bool
	cmd := &cobra.Command{Use: "ls [OPTIONS]", Short: "List contexts", Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if quiet {
				text = "{{.Name}}"
			}
			p, err := a.printer(a.Out, text, format.Standard{
				Table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
				Heads: format.Heads{"Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR"},
			})
			if err != nil {
				return err
			}
			rows, unread := a.contextRows()
			for _, r := range rows {
				if err := p.Row(r); err != nil {
					return err
				}
			}
			a.warnOverride("a context")
			return errors.Join(p.Flush(), unread)
		}}
	cmd.Flags().StringVar(&text, "format", "", "Format: table, 'table TEMPLATE', json, or a Go template")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Show names only")
	return cmd
}

// contextRows are all contexts, and the one in use also if it is not there. err says of
// which contexts the files cannot be read.
func (a *app) contextRows() (rows []contextRow, err error) {
	list, err := a.contextStore().List()
	standard, _, defaultErr := a.choice().DefaultContext()
	if defaultErr != nil {
		return nil, defaultErr
	}
	standard.Metadata.Description = ofDefault
	used, found := a.choice().ContextName(), false
	for _, c := range append(list, standard) {
		r := contextRow{Name: c.Name, Current: c.Name == used, Description: c.Metadata.Description}
		found = found || r.Current
		e, err := c.Engine()
		if r.DockerEndpoint = e.Host; err != nil {
			r.Error = ellipsis(err.Error(), errorWidth)
		}
		rows = append(rows, r)
	}
	if !found {
		_, err := a.contextStore().Get(used)
		rows = append(rows, contextRow{Name: used, Current: true, Error: ellipsis(fmt.Sprint(err), errorWidth)})
	}
	slices.SortFunc(rows, func(a, b contextRow) int { return sortorder.NaturalCompare(a.Name, b.Name) })
	return rows, err
}

// errorWidth is as wide as a list shows an error, as docker's does.
const errorWidth = 45

// warnOverride says that a variable of the environment precedes contexts.
func (a *app) warnOverride(what string) {
	if name := a.choice().Overrides(); name != "" {
		fmt.Fprintf(a.Err, "Warning: %[1]s environment variable overrides the active context. To use %[2]s, either set the global --context flag, or unset %[1]s environment variable.\n", name, what)
	}
}

func newContextShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show", Short: "Print the name of the context in use", Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if err := a.choice().Check(); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, a.choice().ContextName())
			return nil
		}}
}

func newContextUse(a *app) *cobra.Command {
	return &cobra.Command{Use: "use CONTEXT", Short: "Set the context in use, for docker's command line as well", Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			if name != contexts.Default {
				if err := contexts.CheckName(name); err != nil {
					return err
				}
				if _, err := a.contextStore().Get(name); err != nil {
					return err
				}
			}
			if err := a.setContext(name); err != nil {
				return err
			}
			fmt.Fprintln(a.Out, name)
			fmt.Fprintf(a.Err, "Current context is now %q\n", name)
			if name != contexts.Default {
				a.warnOverride(fmt.Sprintf("%q", name))
			}
			return nil
		}}
}

// setContext writes the context in use to config.json, if that says something else.
func (a *app) setContext(name string) error {
	var value any = name
	if name == contexts.Default {
		name, value = "", nil
	}
	if a.config().CurrentContext == name && a.choice().File().Broken() == nil {
		return nil
	}
	return a.choice().File().Set("currentContext", value)
}

func newContextRm(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{Use: "rm [OPTIONS] CONTEXT [CONTEXT...]", Short: "Remove one or more contexts", Args: args(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			used := a.choice().ContextName()
			return a.each(args, func(name string) error { return a.removeContext(name, name == used, force) })
		}}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Also the context in use; that there is none is no error")
	return cmd
}

func (a *app) removeContext(name string, used, force bool) error {
	switch {
	case name == contexts.Default:
		return errors.New(`context "default" cannot be removed`)
	case used && !force:
		return fmt.Errorf("context %q is in use, set -f flag to force remove", name)
	case used:
		if err := a.setContext(contexts.Default); err != nil {
			return err
		}
	}
	s := a.contextStore()
	if _, err := os.Stat(s.MetaDir(name)); !force && errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("context %q does not exist", name)
	}
	return s.Remove(name)
}

func newContextExport(a *app) *cobra.Command {
	return &cobra.Command{Use: "export CONTEXT [FILE|-]", Short: "Write a context to a file, CONTEXT.dockercontext, or to standard output", Args: args(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] != contexts.Default {
				if err := contexts.CheckName(args[0]); err != nil {
					return err
				}
			}
			c, tls, err := a.context(args[0])
			if err != nil {
				return err
			}
			file := args[0] + ".dockercontext"
			if len(args) == 2 {
				file = args[1]
			}
			return a.exportContext(file, c, tls)
		}}
}

// exportContext writes the archive of a context to a file, which must not be there, or to
// standard output. There may be a key in it.
func (a *app) exportContext(file string, c *contexts.Context, tls contexts.TLS) error {
	if file == "-" {
		if isTerminal(a.Out) {
			return errors.New("cowardly refusing to export to a terminal, specify a file path")
		}
		return contexts.Export(a.Out, c, tls)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(contexts.Export(f, c, tls), f.Close()); err != nil {
		os.Remove(file)
		return err
	}
	fmt.Fprintf(a.Err, "Written file %q\n", file)
	return nil
}

func newContextImport(a *app) *cobra.Command {
	return &cobra.Command{Use: "import CONTEXT FILE|-", Short: "Make a context of a tar or zip file, as export writes it", Args: args(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := a.newContextName(args[0]); err != nil {
				return err
			}
			in := a.In
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = io.Reader(f)
			}
			c, tls, err := contexts.Import(in, args[0])
			if err != nil {
				return err
			}
			return a.putContext("imported", c, tls)
		}}
}

// newContextName refuses what cannot be the name of a new context.
func (a *app) newContextName(name string) error {
	if err := contexts.CheckName(name); err != nil {
		return err
	}
	switch _, err := a.contextStore().Get(name); {
	case err == nil:
		return fmt.Errorf("context %q already exists", name)
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("error while getting existing contexts: %w", err)
	}
	return nil
}

// putContext stores a context and says what has become of it.
func (a *app) putContext(done string, c *contexts.Context, tls contexts.TLS) error {
	if err := a.contextStore().Put(c, tls); err != nil {
		return fmt.Errorf("cannot store the context %q: %w", c.Name, err)
	}
	fmt.Fprintln(a.Out, c.Name)
	fmt.Fprintf(a.Err, "Successfully %s context %q\n", done, c.Name)
	return nil
}
