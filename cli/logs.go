package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/spf13/cobra"

	"hoy/client"
)

func newLogs(a *app) *cobra.Command {
	o := client.LogOptions{Stdout: true, Stderr: true}
	c := &cobra.Command{Use: "logs [OPTIONS] CONTAINER", Short: "Fetch the logs of a container", Args: args(1, 1)}
	c.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) (err error) {
		now := time.Now()
		if o.Since, err = moment(o.Since, now); err != nil {
			return &usage{"hoy logs", "invalid value for \"since\": " + err.Error(), codeFailure}
		}
		if o.Until, err = moment(o.Until, now); err != nil {
			return &usage{"hoy logs", "invalid value for \"until\": " + err.Error(), codeFailure}
		}
		if _, err := strconv.Atoi(o.Tail); err != nil && o.Tail != "all" {
			return &usage{"hoy logs", fmt.Sprintf("invalid value %q for \"tail\": it is a number of lines or all", o.Tail), codeFailure}
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		err = a.logs(ctx, c, args[0], o)
		if ctx.Err() != nil {
			return &exit{code: 130}
		}
		return err
	})
	f := c.Flags()
	f.BoolVar(&o.Details, "details", false, "Show what the logging driver knows besides")
	f.BoolVarP(&o.Follow, "follow", "f", false, "Go on with what comes")
	f.StringVar(&o.Since, "since", "", "Show what came since a time (2026-01-02T13:23:37Z) or a while ago (42m)")
	f.StringVarP(&o.Tail, "tail", "n", "all", "Show so many lines from the end")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "Show when each line came")
	f.StringVar(&o.Until, "until", "", "Show what came before a time or a while ago")
	return c
}

// moment reads a time as docker does: a duration before now, a date, a time with or
// without zone, or seconds since 1970. It returns the API's way to write it.
func moment(s string, now time.Time) (string, error) {
	if s == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(s); err == nil && s != "0" { // that is 1970
		return stamp(now.Add(-d)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01-02Z07:00"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return stamp(t), nil
		}
	}
	sec, frac, _ := strings.Cut(s, ".")
	if _, err := strconv.ParseInt(sec, 10, 64); err == nil && strings.Trim(frac, "0123456789") == "" && len(frac) <= 9 {
		return s, nil
	}
	return "", fmt.Errorf("%q is no time: write one like 2026-01-02T13:23:37Z, a while ago like 42m, or seconds since 1970", s)
}

// logs prints a log. Following goes on over restarts of the engine: each line comes
// with its time, so that after a restart we ask for what came later only. A terminal's
// log has no frames to find the times in: there our clock must do.
func (a *app) logs(ctx context.Context, c *client.Client, name string, o client.LogOptions) error {
	show, mark := o.Timestamps, &logMark{}
	marked := o.Follow && !o.Details
	o.Timestamps = show || marked
	for {
		l, tty, err := openLogs(ctx, c, name, o)
		if err != nil {
			return err
		}
		if tty && marked {
			marked, o.Timestamps = false, show
			l.Close()
			continue
		}
		out := &logLines{w: a.Out, mark: mark, strip: !show, marked: marked}
		errs := &logLines{w: a.Err, mark: mark, strip: !show, marked: marked}
		if tty {
			_, err = io.Copy(out, l)
		} else {
			_, err = stdcopy.StdCopy(out, errs, l)
		}
		l.Close()
		if w := errors.Join(out.err, errs.err); w != nil {
			return w
		}
		if !o.Follow || !client.Lost(err) || ctx.Err() != nil {
			return err
		}
		o.Tail, o.Since = "all", mark.resume(time.Now())
	}
}

func openLogs(ctx context.Context, c *client.Client, name string, o client.LogOptions) (l *client.Logs, tty bool, err error) {
	err = again(ctx, func() (err error) {
		l, err = c.ContainerLogs(ctx, name, o)
		return err
	})
	if err != nil || l.Known {
		return l, err == nil && !l.Mux, err
	}
	now, _, err := c.ContainerInspect(ctx, name, false)
	if err != nil {
		l.Close()
		return nil, false, err
	}
	return l, now.Config.Tty, nil
}

// logMark is where we are in a log: the time of the last line, and how many lines of
// that time were shown.
type logMark struct {
	last string
	n    int
	skip int // lines of that time still to be left out
}

// resume returns the time to go on from, which is lost's where no line had a time.
func (m *logMark) resume(lost time.Time) string {
	t, err := time.Parse(time.RFC3339Nano, m.last)
	if err != nil {
		return stamp(lost)
	}
	m.skip, m.n = m.n, 0
	return stamp(t)
}

// pass records a line of that time and reports whether it is new.
func (m *logMark) pass(t string) bool {
	if t != m.last {
		m.last, m.n, m.skip = t, 1, 0
		return true
	}
	m.n++
	if m.skip > 0 {
		m.skip--
		return false
	}
	return true
}

// logLines writes lines that start with a time, each in one Write.
type logLines struct {
	w             io.Writer
	mark          *logMark
	strip, marked bool
	err           error
}

func (l *logLines) Write(p []byte) (int, error) {
	show := p
	if l.marked {
		t, rest, ok := bytes.Cut(p, []byte(" "))
		if ok {
			if !l.mark.pass(string(t)) {
				return len(p), nil
			}
			if l.strip {
				show = rest
			}
		}
	}
	if _, err := l.w.Write(show); err != nil {
		l.err = err
		return 0, err
	}
	return len(p), nil
}
