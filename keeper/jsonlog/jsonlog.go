// Package jsonlog writes and reads container logs in the format of Docker's
// json-file driver.
//
// A log is a file of lines, each a JSON object, and its predecessors:
//
//	<path>      {"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//	<path>.1    the file before, <path>.2 or <path>.2.gz the one before that
//
// An output line of more than 16 KiB is several entries, of which only the last
// ends in "\n". With attributes, there is a member "attrs" before "time".
package jsonlog

import "time"

// MaxLine is how much of an output line one entry holds.
const MaxLine = 16 << 10

// Streams of a log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Entry is a line of a log, or a part of a long one: Line then does not end in "\n".
type Entry struct {
	Stream string // "stdout" or "stderr"
	Line   []byte // valid until the callback returns
	Time   time.Time
	Attrs  map[string]string
	Size   int // bytes of the entry in its file
}
