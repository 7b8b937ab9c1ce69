package container

import (
	"context"
	"encoding/binary"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"

	"hoy/keeper/jsonlog"
	"hoy/lib/fault"
)

// Logs reads the container's log, which works whether it runs or not. Following
// ends when the container does; the error is context.Canceled when ctx ends it before.
func (c *Containers) Logs(ctx context.Context, ref string, o LogOptions, w LogSink) error {
	k, err := c.index.get(ref)
	if err != nil {
		return err
	}
	if !o.Stdout && !o.Stderr {
		return fault.New(fault.Invalid, "Bad parameters: you must choose at least one stream")
	}
	if err := readable(k.rec()); err != nil {
		return err
	}
	read := jsonlog.ReadOptions{Tail: o.Tail, Since: o.Since, Until: o.Until}
	if p, err := k.running(); err == nil && o.Follow {
		read.Follow, read.Done = true, p.done
		read.Paused = w.Flush // a history goes out in big pieces, what comes as soon as it is there
	}
	w.Begin(k.rec().Config.Tty)
	out := logWriter{o: o, w: w}
	err = jsonlog.Read(ctx, c.logPath(k.id), read, out.entry)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, w.Flush())
}

func readable(r *record) error {
	if logsDisabled(r.Host) {
		return fault.New(fault.Invalid, "configured logging driver does not support reading")
	}
	return nil
}

type logWriter struct {
	o    LogOptions
	w    LogSink
	line []byte // reused
}

func (l *logWriter) entry(e jsonlog.Entry) error {
	stream := byte(1)
	if e.Stream == jsonlog.Stderr {
		stream = 2
	}
	if stream == 1 && !l.o.Stdout || stream == 2 && !l.o.Stderr {
		return nil
	}
	b := l.line[:0]
	if l.o.Timestamps {
		b = e.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z07:00")
		b = append(b, ' ')
	}
	if l.o.Details {
		b = append(b, details(e.Attrs)...)
		b = append(b, ' ')
	}
	l.line = append(b, e.Line...)
	return l.w.Write(stream, l.line)
}

// details formats attributes as docker does: sorted, escaped, with commas between.
func details(attrs map[string]string) string {
	l := make([]string, 0, len(attrs))
	for k, v := range attrs {
		l = append(l, url.QueryEscape(k)+"="+url.QueryEscape(v))
	}
	slices.Sort(l)
	return strings.Join(l, ",")
}

// replay writes what the container has written so far to a client that attaches.
func (c *Containers) replay(ctx context.Context, k *Container, o AttachOptions, s *Stream) error {
	if err := readable(k.rec()); err != nil {
		return err
	}
	mux := !k.rec().Config.Tty && !s.Raw
	err := jsonlog.Read(ctx, c.logPath(k.id), jsonlog.ReadOptions{Tail: -1}, func(e jsonlog.Entry) error {
		stream := byte(1)
		if e.Stream == jsonlog.Stderr {
			stream = 2
		}
		if stream == 1 && !o.Stdout || stream == 2 && !o.Stderr {
			return nil
		}
		_, err := s.Write(frame(mux, stream, e.Line))
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// frame puts docker's header of multiplexed streams before b: stream, three zeros,
// length.
func frame(mux bool, stream byte, b []byte) []byte {
	if !mux {
		return b
	}
	f := make([]byte, 8, 8+len(b))
	f[0] = stream
	binary.BigEndian.PutUint32(f[4:], uint32(len(b)))
	return append(f, b...)
}
