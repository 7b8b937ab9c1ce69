package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/client"
)

// statsFormats has docker's table of statistics.
func statsFormats() format.Standard {
	return format.Standard{
		Table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
		Heads: format.Heads{"BlockIO": "BLOCK I/O", "CPUPerc": "CPU %", "Container": "CONTAINER", "ID": "CONTAINER ID", "MemPerc": "MEM %",
			"MemUsage": "MEM USAGE / LIMIT", "Name": "NAME", "NetIO": "NET I/O", "PIDs": "PIDS"},
	}
}

type statsFlags struct {
	all, noStream, noTrunc bool
	format                 string
}

func newStats(a *app) *cobra.Command {
	var o statsFlags
	cmd := &cobra.Command{Use: "stats [OPTIONS] [CONTAINER...]", Short: "Display a live stream of container(s) resource usage statistics", Args: args(0, -1),
		RunE: a.do(func(ctx context.Context, c *client.Client, args []string) error {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			return a.stats(ctx, c, &o, args)
		})}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers, not only running ones")
	f.StringVar(&o.format, "format", "", "Format: table, 'table TEMPLATE', json, or a Go template")
	f.BoolVar(&o.noStream, "no-stream", false, "Show one result and end")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids")
	return cmd
}

func (a *app) stats(ctx context.Context, c *client.Client, o *statsFlags, names []string) error {
	o.format = cmp.Or(o.format, a.config().StatsFormat)
	if _, err := a.printer(io.Discard, o.format, statsFormats()); err != nil {
		return err
	}
	b := &statsBoard{c: c, stream: !o.noStream, full: o.noTrunc}
	if len(names) == 0 {
		if err := b.watch(ctx, o.all); err != nil {
			return err
		}
	}
	for _, n := range names {
		if _, _, err := c.ContainerInspect(ctx, n, false); err != nil {
			return err
		}
		b.add(ctx, n, false)
	}
	b.first.Wait()
	if o.noStream {
		return errors.Join(b.failure(), a.printStats(a.Out, b, o.format))
	}
	return a.refresh(ctx, b, o.format)
}

// refresh prints the board again and again, in place on a terminal.
func (a *app) refresh(ctx context.Context, b *statsBoard, text string) error {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		if err := b.failure(); err != nil {
			return err
		}
		var page bytes.Buffer
		if err := a.printStats(&page, b, text); err != nil {
			return err
		}
		shown := page.String()
		if isTerminal(a.Out) {
			shown = "\x1b[H" + strings.ReplaceAll(shown, "\n", "\x1b[K\n") + "\x1b[J"
		}
		if _, err := io.WriteString(a.Out, shown); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// printStats prints the rows as they are now.
func (a *app) printStats(w io.Writer, b *statsBoard, text string) error {
	p, err := a.printer(w, text, statsFormats())
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.rows {
		if err := p.Row(l.row); err != nil {
			return err
		}
	}
	return p.Flush()
}
