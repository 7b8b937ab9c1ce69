package jsonlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a follower looks without having been woken: only where inotify
// has nothing left to give, or does not see the writes of another machine.
const poll = time.Second

// follow waits for more, over rotations.
func (r *Reader) follow(ctx context.Context) error {
	woken, stop := watch(r.path)
	defer stop()
	var until <-chan time.Time
	if !r.o.Until.IsZero() {
		t := time.NewTimer(time.Until(r.o.Until))
		defer t.Stop()
		until = t.C
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for ended := false; ; {
		// What was written before the end was told is read after it.
		if err := r.catchUp(ctx); err != nil || ended {
			return err
		}
		select {
		case <-woken:
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

// catchUp reads what has come, in the present file and in those that followed it.
func (r *Reader) catchUp(ctx context.Context) error {
	for {
		successor, err := r.successor()
		if err != nil {
			return err
		}
		if r.file != nil {
			if err := r.rewind(); err != nil {
				return err
			}
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
	at, err := r.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	fi, err := r.file.Stat()
	if err != nil || fi.Size() >= at {
		return err
	}
	r.buf, r.skip = r.buf[:0], false
	_, err = r.file.Seek(0, io.SeekStart)
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

// watch sends a value when something happened to the log's files.
func watch(path string) (woken <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return ch, func() {}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return ch, func() { f.Close() }
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}()
	return ch, func() { f.Close() }
}
