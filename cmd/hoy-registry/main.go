// Command hoy-registry is a registry for this machine and its neighbours: distribution's,
// kept in a folder. "hoy registry" starts it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"hoy/registry/builtin"
	"hoy/registry/builtin/serve"
)

func main() {
	var o builtin.Options
	f := pflag.NewFlagSet("hoy-registry", pflag.ContinueOnError)
	o.Register(f)
	err := f.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err == nil {
		err = serve.Registry(ctx, o, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hoy-registry:", err)
		os.Exit(1)
	}
}
