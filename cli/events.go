package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"hoy/cli/format"
	"hoy/cli/terminal"
	"hoy/client"
)

func newEvents(a *app) *cobra.Command {
	var since, until, text string
	var filters filterFlag
	cmd := &cobra.Command{Use: "events [OPTIONS]", Short: "Get real time events from the engine", Args: args(0, 0),
		RunE: a.do(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			now := time.Now()
			if since, err = moment(since, now); err != nil {
				return &usage{"hoy events", "invalid value for \"since\": " + err.Error(), codeFailure}
			}
			if until, err = moment(until, now); err != nil {
				return &usage{"hoy events", "invalid value for \"until\": " + err.Error(), codeFailure}
			}
			var p *format.Printer
			if text != "" {
				if p, err = a.lines(text); err != nil {
					return &exit{64, err}
				}
			}
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			err = a.events(ctx, c, since, until, filters.f, p)
			if ctx.Err() != nil {
				return &exit{code: 130}
			}
			return err
		})}
	f := cmd.Flags()
	f.VarP(&filters, "filter", "f", "Show those only that a condition holds for, like event=die")
	f.StringVar(&text, "format", "", formatHelp)
	f.StringVar(&since, "since", "", "Show what happened since a time or a while ago")
	f.StringVar(&until, "until", "", "Show what happens until a time")
	return cmd
}

// events prints events, and goes on after a restart of the engine from the last one.
func (a *app) events(ctx context.Context, c *client.Client, since, until string, f client.Filters, p *format.Printer) error {
	for {
		var ev *client.Events
		err := again(ctx, func() (err error) {
			ev, err = c.Events(ctx, since, until, f)
			return err
		})
		if err != nil {
			return err
		}
		since = stamp(time.Now())
		for {
			var m events.Message
			if m, err = ev.Next(); err != nil {
				break
			}
			if err := printEvent(a.Out, m, p); err != nil {
				return err
			}
			if m.TimeNano != 0 {
				since = stamp(time.Unix(0, m.TimeNano+1))
			}
		}
		ev.Close()
		if errors.Is(err, io.EOF) && until != "" {
			return nil
		}
		if !client.Lost(err) || ctx.Err() != nil {
			return err
		}
	}
}

// printEvent prints one event by the format, or as docker does: time, kind, action,
// object, and the object's attributes in order of their names.
func printEvent(w io.Writer, m events.Message, p *format.Printer) error {
	if p != nil {
		if err := p.Row(m); err != nil {
			return &exit{64, err}
		}
		return nil
	}
	var b strings.Builder
	switch {
	case m.TimeNano != 0:
		b.WriteString(time.Unix(0, m.TimeNano).Format(nanoTime) + " ")
	case m.Time != 0:
		b.WriteString(time.Unix(m.Time, 0).Format(nanoTime) + " ")
	}
	fmt.Fprintf(&b, "%s %s %s", m.Type, m.Action, m.Actor.ID)
	if len(m.Actor.Attributes) > 0 {
		var attrs []string
		for k, v := range m.Actor.Attributes {
			attrs = append(attrs, k+"="+v)
		}
		slices.Sort(attrs)
		fmt.Fprintf(&b, " (%s)", strings.Join(attrs, ", "))
	}
	_, err := fmt.Fprintln(terminal.Plain(w), b.String())
	return err
}

// nanoTime is RFC 3339 with all nine digits of a second.
const nanoTime = "2006-01-02T15:04:05.000000000Z07:00"
