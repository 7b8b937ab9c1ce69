// Package jsonlog writes and reads container logs in the format of Docker's
// json-file driver.
package jsonlog

import (
	"time"
)

// Entry is a line of a log, or a part of a long one: Line then does not end in "\n".
type Entry struct {
	Stream string // "stdout" or "stderr"
	Line   []byte // valid until the callback returns
	Time   time.Time
	Attrs  map[string]string
}

// ReadOptions says which entries are wanted.
type ReadOptions struct {
	Tail   int       // the last n entries; negative: all
	Since  time.Time // entries before are left out; zero: none
	Until  time.Time // entries after are left out; zero: none
	Follow bool      // wait for more at the end, until Done is closed or the context ends
	Done   <-chan struct{}
}
