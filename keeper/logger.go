package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hoy/keeper/jsonlog"
	"hoy/lib/failpoint"
)

// logger writes the log of one process. Its two streams share it.
type logger struct {
	mu      sync.Mutex // held over writes to the log: entries of two streams must not mix
	w       *jsonlog.Writer
	failing bool // the last write failed, and that was said
	id      string
	ship    *shipper // nil: the log stays on this machine
}

// openLog opens the log of p, and begins to ship it where that is wanted.
func (p *process) openLog() (*logger, error) {
	c := p.config.Log
	if c == nil || c.Driver == "none" {
		return nil, nil
	}
	w, err := jsonlog.Append(jsonlog.Config{Path: p.logPath(), MaxSize: c.MaxSize, MaxFile: c.MaxFile, Attrs: c.Attrs, Compress: c.Compress})
	if err != nil {
		return nil, err
	}
	l := &logger{w: w, id: p.ID}
	if c.Ship == nil {
		return l, nil
	}
	var r *jsonlog.Reader
	if l.ship, r, err = newShipper(markPath(p.s.root, p.ID), p.ID, p.logPath(), c, &p.s.leaving); err != nil {
		w.Close()
		return nil, err
	}
	p.s.linger(1)
	go func() {
		l.ship.run(r)
		p.s.linger(-1)
	}()
	return l, nil
}

// logPath is where the log is: in the container's directory, or in the exec root when
// it is only a buffer.
func (p *process) logPath() string {
	if p.config.Log.Path == "" {
		return filepath.Join(p.dir(), "log")
	}
	return p.config.Log.Path
}

func (l *logger) close() {
	if l == nil {
		return
	}
	l.w.Close()
	if l.ship != nil {
		l.ship.end()
	}
}

// write logs the whole lines at the head of data and returns how much that was. Not
// more than a log file holds is written at once. When it returns n > 0, e is in the
// phase written: the caller takes n bytes from the pipe, where first shows whether
// that was done, and calls e.done. Without a log all of data counts as logged.
func (l *logger) write(w *work, e *journalEntry, first byte, stream string, data []byte, flush bool) (n int) {
	if l == nil {
		e.begin(first, len(data), 0, 0)
		e.written()
		return len(data)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at, err := l.w.Begin()
	w.enc, n = l.w.Encode(w.enc[:0], stream, data, time.Now(), flush)
	if n == 0 {
		return 0
	}
	e.begin(first, n, at, len(w.enc))
	if err == nil {
		if err = l.w.Commit(w.enc); err == nil {
			if l.ship != nil { // what is not there is not waited for
				l.ship.logged.Add(int64(len(w.enc)))
			}
			err = failpoint.Hit(failpoint.KeeperLogWritten)
		}
	}
	e.written()
	// A log that cannot be written, on a full disk say, loses what it should have
	// held; the container goes on.
	if err != nil && !l.failing {
		fmt.Fprintf(os.Stderr, "hoy-keeper: %s: output is lost: %v\n", l.id, err)
	}
	l.failing = err != nil
	return n
}

// settle finishes the writing that a keeper was about when it died. It returns how
// many bytes were logged and maybe not taken from the pipe.
func (l *logger) settle(e *journalEntry) (n int, err error) {
	if l != nil && e.phase.Load() == journalWriting {
		if l.w.Size() < e.at+e.enc {
			if l.w.Size() > e.at {
				err = l.w.Truncate(e.at)
			}
			e.undo()
			return 0, err
		}
		e.written()
	}
	if e.phase.Load() == journalWritten {
		return int(min(e.n, 2*batch)), nil // more is never under way
	}
	return 0, nil
}
