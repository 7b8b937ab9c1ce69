package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"hoy/client"
	"hoy/client/contexts"
)

// contextFlags are what create and update say of a context.
type contextFlags struct {
	description, from string
	engine            map[string]string
}

func (o *contextFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.description, "description", "", "Description of the context")
	cmd.Flags().StringToStringVar(&o.engine, "docker", nil, "The engine: host=unix://PATH, tcp://HOST:PORT or ssh://USER@HOST, and for TLS ca=FILE,cert=FILE,key=FILE,skip-tls-verify=true; or from=CONTEXT")
}

func newContextCreate(a *app) *cobra.Command {
	var o contextFlags
	cmd := &cobra.Command{Use: "create [OPTIONS] CONTEXT", Short: "Create a context, a name for an engine", Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := a.newContextName(args[0]); err != nil {
				return err
			}
			return a.createContext(args[0], &o)
		}}
	o.register(cmd)
	cmd.Flags().StringVar(&o.from, "from", "", "Create it as a copy of this context")
	return cmd
}

// createContext makes a context of what was said, or copies another, the one in use
// unless it is named.
func (a *app) createContext(name string, o *contextFlags) error {
	if o.from != "" && len(o.engine) > 0 {
		return errors.New("cannot use --docker flag when --from is set")
	}
	if o.from == "" && o.engine != nil {
		e, tls, err := a.contextEngine(o.engine)
		if err != nil {
			return err
		}
		all := contexts.TLS{}
		all.PutEngine(tls)
		return a.putContext("created", contexts.New(name, o.description, e), all)
	}
	if o.from == "" {
		o.from = a.choice().ContextName()
	}
	c, tls, err := a.context(o.from)
	if err != nil {
		return err
	}
	if o.from == contexts.Default {
		c.Metadata.Description = ofDefault
	}
	c.Name = name
	if o.description != "" {
		c.Metadata.Description = o.description
	}
	return a.putContext("created", c, tls)
}

func newContextUpdate(a *app) *cobra.Command {
	var o contextFlags
	cmd := &cobra.Command{Use: "update [OPTIONS] CONTEXT", Short: "Change a context", Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := contexts.CheckName(args[0]); err != nil {
				return err
			}
			c, tls, err := a.context(args[0])
			if err != nil {
				return err
			}
			if o.description != "" {
				c.Metadata.Description = o.description
			}
			if o.engine != nil {
				e, files, err := a.contextEngine(o.engine)
				if err != nil {
					return err
				}
				c.SetEngine(e)
				tls.PutEngine(files)
			} else {
				tls = nil // they stay
			}
			return a.putContext("updated", c, tls)
		}}
	o.register(cmd)
	return cmd
}

// contextEngine is the engine that --docker names, and its files. With from= it is
// another's address, without its files, as docker has it.
func (a *app) contextEngine(said map[string]string) (contexts.Endpoint, map[string][]byte, error) {
	e, tls, err := a.readEngine(said)
	if err != nil {
		err = fmt.Errorf("unable to create docker endpoint config: %w", err)
	}
	return e, tls, err
}

func (a *app) readEngine(said map[string]string) (e contexts.Endpoint, files map[string][]byte, err error) {
	for _, k := range slices.Sorted(maps.Keys(said)) {
		if !slices.Contains([]string{"from", "host", "ca", "cert", "key", "skip-tls-verify"}, k) {
			return e, nil, fmt.Errorf("unrecognized config key: %s", k)
		}
	}
	if from, ok := said["from"]; ok {
		c, _, err := a.context(from)
		if err != nil {
			return e, nil, err
		}
		e, err = c.Engine()
		return e, nil, err
	}
	files = map[string][]byte{}
	for _, k := range [...]string{"ca", "cert", "key"} {
		if said[k] == "" {
			continue
		}
		if files[k+".pem"], err = os.ReadFile(said[k]); err != nil {
			return e, nil, err
		}
	}
	e.Host = said["host"]
	if v, ok := said["skip-tls-verify"]; ok {
		if e.SkipTLSVerify, err = strconv.ParseBool(v); err != nil {
			return e, nil, fmt.Errorf("skip-tls-verify: parsing %q: invalid syntax", v)
		}
	}
	return e, files, client.CheckContext(e, said["ca"], said["cert"], said["key"])
}

// contextDetails is a context as inspect shows it.
type contextDetails struct {
	Name        string
	Metadata    contexts.Metadata
	Endpoints   map[string]any
	TLSMaterial map[string][]string
	Storage     struct{ MetadataPath, TLSPath string }
}

func newContextInspect(a *app) *cobra.Command {
	var text string
	cmd := &cobra.Command{Use: "inspect [OPTIONS] [CONTEXT...]", Short: "Display detailed information on one or more contexts", Args: args(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{a.choice().ContextName()}
			}
			return a.inspect(cmd.Context(), nil, text, args, func(_ context.Context, _ *client.Client, name string) (any, json.RawMessage, error) {
				d, err := a.contextDetails(name)
				if err != nil {
					return nil, nil, err
				}
				raw, err := json.Marshal(d)
				return d, raw, err
			})
		}}
	cmd.Flags().StringVarP(&text, "format", "f", "", formatHelp)
	return cmd
}

func (a *app) contextDetails(name string) (*contextDetails, error) {
	c, tls, err := a.context(name)
	if err != nil {
		return nil, err
	}
	d := &contextDetails{Name: c.Name, Metadata: c.Metadata, Endpoints: map[string]any{}, TLSMaterial: tls.Files()}
	for name, raw := range c.Endpoints {
		var e any
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, err
		}
		d.Endpoints[name] = e
	}
	s := a.contextStore()
	d.Storage.MetadataPath, d.Storage.TLSPath = s.MetaDir(name), s.TLSDir(name)
	if name == contexts.Default {
		d.Storage.MetadataPath, d.Storage.TLSPath = "<IN MEMORY>", "<IN MEMORY>"
	}
	return d, nil
}
