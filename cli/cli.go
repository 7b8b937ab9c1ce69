// Package cli is the command line: it parses docker's commands and options, asks the
// engine, and prints what docker prints.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hoy/cli/terminal"
	"hoy/client"
	"hoy/lib/version"
)

// Streams are the standard streams of a command line.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes as docker has them; a container's own code is passed on.
const (
	codeFailure  = 1   // most commands
	codeEngine   = 125 // run: the engine; flags of any command
	codeInvoke   = 126 // the command in the container cannot be invoked
	codeNotFound = 127 // the command in the container does not exist
	codePipe     = 141 // nobody reads our output: 128+SIGPIPE, as other programs end
)

// exit is an error that decides the exit code. Without text nothing is printed.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is an error in how a command was used; its text ends with where to look.
type usage struct {
	cmd  string
	text string
	code int
}

func (u *usage) Error() string { return fmt.Sprintf("%s\nSee '%s --help'.", u.text, u.cmd) }

// app is one command line being run.
type app struct {
	Streams
	global global
	chosen bool // global.choice is complete
	client *client.Client
	silent bool // a shell asks for completions: no engine is started for that
}

// global are the flags before the command.
type global struct {
	choice  client.Choice
	debug   bool
	level   string
	version bool
	help    bool
}

func (g *global) register(f *pflag.FlagSet) {
	f.StringVarP(&g.choice.Host, "host", "H", "", "Engine to use, like unix:///run/hoy/hoy.sock, tcp://10.0.0.5:2376 or ssh://user@server")
	f.StringVarP(&g.choice.Context, "context", "c", "", "Context to use, as docker's contexts name engines")
	f.StringVar(&g.choice.ConfigDir, "config", "", "Folder of config.json and of the contexts")
	f.BoolVarP(&g.debug, "debug", "D", false, "Tell of each request to the engine")
	f.StringVarP(&g.level, "log-level", "l", "info", "debug tells of each request to the engine; info, warn, error, fatal do not")
	f.BoolVar(&g.choice.TLS, "tls", false, "Use TLS; implied by --tlsverify")
	f.BoolVar(&g.choice.TLSVerify, "tlsverify", false, "Use TLS and verify the engine")
	f.StringVar(&g.choice.CACert, "tlscacert", "", "Trust certificates of this authority only")
	f.StringVar(&g.choice.Cert, "tlscert", "", "Our certificate")
	f.StringVar(&g.choice.Key, "tlskey", "", "The key of our certificate")
	f.BoolVarP(&g.version, "version", "v", false, "Print the version and quit")
	f.BoolVar(&g.help, "help", false, "Print usage")
}

// Main runs a command line, without the program's name, and returns its exit code.
func Main(args []string, s Streams) int {
	a := &app{Streams: s}
	err := a.run(args)
	if err == nil {
		return 0
	}
	var code *exit
	var use *usage
	switch {
	case errors.Is(err, syscall.EPIPE):
		return codePipe
	case errors.As(err, &code):
		if code.err != nil {
			fmt.Fprintln(s.Err, message(code.err))
		}
		return code.code
	case errors.As(err, &use):
		fmt.Fprintln(s.Err, message(err))
		return use.code
	}
	fmt.Fprintln(s.Err, message(err))
	return codeFailure
}

// message is the line of an error. The engine's errors keep docker's words at their
// start, which scripts look for; run adds the program's name as docker's does.
func message(err error) string {
	text := terminal.Printable(err.Error())
	if strings.HasPrefix(text, "Error") || strings.HasPrefix(text, "ERROR: ") || strings.HasPrefix(text, "Cannot connect") || strings.HasPrefix(text, "hoy: ") {
		return text
	}
	return "hoy: " + text
}

func (a *app) run(args []string) error {
	f := pflag.NewFlagSet("hoy", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.SetOutput(io.Discard)
	a.global.register(f)
	if err := f.Parse(args); errors.Is(err, pflag.ErrHelp) {
		a.global.help = true
	} else if err != nil {
		return &usage{"hoy", err.Error(), codeEngine}
	}
	if a.global.version {
		fmt.Fprintln(a.Out, versionLine())
		return nil
	}
	if level := a.global.level; !strings.Contains(" debug info warn error fatal ", " "+level+" ") {
		return &usage{"hoy", fmt.Sprintf("unable to parse logging level: %s: it is one of debug, info, warn, error, fatal", level), codeFailure}
	}
	rest := f.Args()
	if a.global.help {
		rest = append([]string{"help"}, rest...)
	}
	if isCompletion(rest) {
		rest = a.completing(rest)
	}
	root := a.root(rest)
	root.SetArgs(rest)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	return root.Execute()
}

func versionLine() string {
	commit := version.Commit
	if commit == "" {
		commit = "unknown"
	}
	return fmt.Sprintf("hoy version %s, build %s", version.Version, commit)
}

// choice is how the engine is chosen: by flags, environment, contexts.
func (a *app) choice() *client.Choice {
	if a.chosen {
		return &a.global.choice
	}
	a.chosen = true
	c := &a.global.choice
	c.Getenv = os.Getenv
	c.DefaultHost = "unix://" + client.DefaultSocket
	if home, err := os.UserHomeDir(); err == nil {
		c.DefaultDir = filepath.Join(home, ".docker")
	}
	if err := c.File().Broken(); err != nil && !a.silent {
		fmt.Fprintln(a.Err, "WARNING:", err)
	}
	return c
}

// config is config.json.
func (a *app) config() client.Config { return a.choice().Config() }

// detachKeys are those that were given, or else those of config.json.
func (a *app) detachKeys(given string) string { return cmp.Or(given, a.config().DetachKeys) }

// engine returns the client, choosing the engine at first use.
func (a *app) engine() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	e, implicit, err := a.choice().Resolve()
	if err != nil {
		return nil, err
	}
	header, err := a.choice().Header()
	if err != nil {
		return nil, err
	}
	o := client.Options{Endpoint: e, Header: header, APIVersion: os.Getenv("DOCKER_API_VERSION")}
	if implicit && !a.silent {
		o.Launch = client.Launcher(a.Err)
	}
	if a.global.debug || a.global.level == "debug" {
		o.Trace = func(line string) { fmt.Fprintln(a.Err, "hoy: debug:", line) }
	}
	a.client, err = client.New(o)
	return a.client, err
}

// do is a command's function that needs the engine.
func (a *app) do(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.engine()
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, args)
	}
}

// each does the same to several objects, prints those for which it worked, reports
// the failures one a line, and fails if one did.
func (a *app) each(names []string, f func(string) error) error {
	failed := false
	for _, n := range names {
		err := f(n)
		if errors.Is(err, errQuiet) {
			continue
		}
		if err != nil {
			var gone *client.Unreachable
			if errors.As(err, &gone) {
				return err
			}
			fmt.Fprintln(a.Err, message(err))
			failed = true
			continue
		}
		fmt.Fprintln(a.Out, n)
	}
	if failed {
		return &exit{code: codeFailure}
	}
	return nil
}

// errQuiet says that there is nothing to print for an object, and nothing failed.
var errQuiet = errors.New("nothing to print")

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool { _, ok := terminal.Of(stream); return ok }
