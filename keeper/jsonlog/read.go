package jsonlog

import (
	"context"
	"time"
)

// ReadOptions says which entries are wanted.
type ReadOptions struct {
	Tail   int       // the last n entries; negative: all
	Since  time.Time // entries before are left out; zero: none
	Until  time.Time // entries after are left out; zero: none
	Follow bool      // wait for more at the end, until Done is closed or the context ends
	Done   <-chan struct{}
}

// Read calls f for each entry of the log at path and its rotated predecessors,
// oldest first.
func Read(ctx context.Context, path string, o ReadOptions, f func(Entry) error) error { return nil }
