package jsonlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// poll is how often a follower looks without having been woken: only where inotify
// has nothing left to give, or does not see the writes of another machine.
const poll = time.Second

// gather is how long at most a follower that has read something leaves alone what comes
// next: a line after a quiet time is passed on at once, and of a container that never
// stops it wakes fifty times a second, not for every line. All followers do at the same
// instants, which costs a third less than each at its own.
const gather = 20 * time.Millisecond

// flood is how much must have come for a follower to go on without a rest: at that
// rate files may be rotated away meanwhile.
const flood = 64 << 10

// follow waits for more, over rotations.
func (r *Reader) follow(ctx context.Context) error {
	w := watches.follow(filepath.Dir(r.path))
	defer w.stop()
	return r.wait(ctx, w.arm, w.woken)
}

// wait reads whenever it is woken, until the end is told. What happens after arm wakes it.
func (r *Reader) wait(ctx context.Context, arm func(), woken <-chan struct{}) error {
	var until <-chan time.Time
	if !r.o.Until.IsZero() {
		t := time.NewTimer(time.Until(r.o.Until))
		defer t.Stop()
		until = t.C
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	rest := time.NewTimer(gather)
	defer rest.Stop()
	for ended := false; ; {
		// What was written before the end was told is read after it.
		r.came = 0
		arm()
		if err := r.catchUp(ctx); err != nil || ended {
			return err
		}
		wake := woken
		var rested <-chan time.Time
		if r.came > 0 && r.came < flood {
			rest.Reset(gather - time.Duration(time.Now().UnixNano())%gather)
			wake, rested = nil, rest.C
		}
		if err := r.paused(); err != nil {
			return err
		}
		select {
		case <-wake:
		case <-rested:
		case <-tick.C:
		case <-until:
			ended = true
		case <-r.o.Done:
			ended = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// paused says that there is no more for now, if it did not say so before.
func (r *Reader) paused() error {
	if !r.passed || r.o.Paused == nil {
		return nil
	}
	r.passed = false
	return r.o.Paused()
}

// catchUp reads what has come, in the present file and in those that followed it.
func (r *Reader) catchUp(ctx context.Context) error {
	for {
		successor, err := r.successor()
		if err != nil {
			return err
		}
		if r.file != nil {
			if err := r.drain(ctx); err != nil {
				if successor != nil {
					successor.Close()
				}
				return err
			}
		}
		if successor == nil {
			return nil
		}
		r.next(successor)
	}
}

// rewind starts again in a file that was emptied, as rotation does that keeps one
// file only.
func (r *Reader) rewind() error {
	r.buf, r.skip, r.at = r.buf[:0], false, 0
	_, err := r.file.Seek(0, io.SeekStart)
	return err
}

// successor opens the file after the present one; nil: there is none. Once a file has
// one, nobody writes to it any more.
func (r *Reader) successor() (*os.File, error) {
	var mine os.FileInfo
	if r.file != nil {
		var err error
		if mine, err = r.file.Stat(); err != nil {
			return nil, err
		}
		if mine.Size() < r.at {
			if err := r.rewind(); err != nil {
				return nil, err
			}
		}
		// Nearly always: it is still the newest, and nothing needs to be opened.
		if now, err := os.Stat(r.path); err == nil && os.SameFile(now, mine) {
			return nil, nil
		}
	}
	var newer *os.File
	for i, missing := 0, 0; missing < 2; i++ {
		f, err := os.Open(rotated(r.path, i))
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		var fi os.FileInfo
		if err == nil {
			fi, err = f.Stat()
		}
		if err == nil && mine != nil && os.SameFile(fi, mine) {
			f.Close()
			return newer, nil
		}
		if newer != nil {
			newer.Close()
		}
		if newer = f; err != nil {
			if f != nil {
				f.Close()
			}
			return nil, err
		}
	}
	return newer, nil // the oldest: the present one was rotated away meanwhile
}
