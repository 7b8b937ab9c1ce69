package image

import (
	"context"
	"io"
	"sync/atomic"
)

// follow reads a blob from its beginning while it comes. passed counts what was read.
func (f *fetch) follow(ctx context.Context, passed *atomic.Int64) *follower {
	return &follower{ctx: ctx, f: f, passed: passed}
}

type follower struct {
	ctx    context.Context
	f      *fetch
	off    int64
	passed *atomic.Int64
	gate   *gate // left while there is nothing to read; nil: none
}

func (r *follower) Read(p []byte) (int, error) {
	if r.off == r.f.d.Size {
		return 0, io.EOF
	}
	n, more := r.f.file.ready()
	if n == r.off {
		var err error
		if n, err = r.wait(more); err != nil {
			return 0, err
		}
	}
	got, err := r.f.file.f.ReadAt(p[:min(int64(len(p)), n-r.off)], r.off)
	r.off += int64(got)
	r.passed.Store(r.off)
	return got, err
}

// wait waits for bytes beyond off.
func (r *follower) wait(more <-chan struct{}) (n int64, err error) {
	if r.gate != nil {
		r.gate.leave()
		defer func() {
			// Even when it is over: who has entered leaves.
			if again := r.gate.enter(context.WithoutCancel(r.ctx)); err == nil {
				err = again
			}
		}()
	}
	for {
		select {
		case <-more:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-r.f.done:
			if r.f.err != nil {
				return 0, r.f.err
			}
		}
		if n, more = r.f.file.ready(); n > r.off {
			return n, nil
		}
	}
}
