package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hoy/lib/version"
)

// Main is hoyd: `hoyd serve`, `hoyd --version`. Linked as dockerd it is `hoyd serve`, which
// is as dockerd where hoyd differs: it warns of TCP without clients' certificates, which
// hoyd refuses; its end stops the containers (--live-restore=false); and it does not make
// a bridge that --bridge names. It returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	name, rest := filepath.Base(args[0]), args[1:]
	if name != "dockerd" {
		switch {
		case len(rest) > 0 && rest[0] == "serve":
			rest = rest[1:]
		case len(rest) == 1 && (rest[0] == "--version" || rest[0] == "-v" || rest[0] == "version"):
		case len(rest) == 1 && (rest[0] == "--help" || rest[0] == "-h" || rest[0] == "help"):
		default:
			fmt.Fprintln(stderr, "Usage:  hoyd serve [OPTIONS]\n        hoyd --version\n\nSee 'hoyd serve --help'.")
			return 125
		}
	}
	if len(rest) == 1 && (rest[0] == "--version" || rest[0] == "-v" || rest[0] == "version") {
		fmt.Fprintf(stdout, "hoyd version %s, build %s\n", version.Version, version.Commit)
		return 0
	}
	if len(rest) == 1 && rest[0] == "help" {
		rest = []string{"--help"}
	}
	if err := serve(rest, name == "dockerd", stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "hoyd:", err)
		return 1
	}
	return 0
}

func serve(args []string, dockerd bool, stdout, stderr io.Writer) error {
	o, warnings, err := parse(args, dockerd)
	if errors.Is(err, pflag.ErrHelp) {
		fmt.Fprint(stdout, Usage())
		return nil
	}
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintln(stderr, "hoyd: warning:", w)
	}
	if o.Validate {
		fmt.Fprintln(stdout, "configuration OK")
		return nil
	}
	// What containers and builds are given must be readable inside, whoever has started
	// this; dockerd has the same.
	unix.Umask(0o022)
	ctx := context.Background()
	d, err := New(ctx, o)
	if err != nil {
		return err
	}
	return errors.Join(d.Run(ctx), d.Close())
}
