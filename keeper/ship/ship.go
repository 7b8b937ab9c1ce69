// Package ship sends the lines of a container's log to journald, syslog, gelf or fluentd.
package ship

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"hoy/lib/fault"
)

// Config says where lines go and what each tells about its container. Check has
// accepted Driver and Options.
type Config struct {
	Driver  string            `json:"driver"`
	Options map[string]string `json:"options,omitempty"`
	Tag     string            `json:"tag"`
	Host    string            `json:"host"` // name of this machine
	Attrs   map[string]string `json:"attrs,omitempty"`

	ID      string    `json:"id"`
	Name    string    `json:"name"` // without slash
	ImageID string    `json:"imageID"`
	Image   string    `json:"image"`
	Command string    `json:"command"`
	Created time.Time `json:"created"`
}

// shortID is what docker shows of an id.
func (c *Config) shortID() string { return c.ID[:min(12, len(c.ID))] }

// Line is one line of output, or a piece of a long one.
type Line struct {
	Text   []byte // without the newline
	Stderr bool
	Time   time.Time
	Piece  Piece
}

// Piece is the place of a line in a longer one that was cut. The zero Piece is a
// whole line.
type Piece struct {
	ID      string // the same for all pieces of a line
	Ordinal int    // from 1
	Last    bool
}

// Pieces numbers the pieces of one stream's long lines.
type Pieces struct {
	id string
	n  int
}

// Next returns the place of the next piece, which ends its line or does not.
func (p *Pieces) Next(ends bool) Piece {
	if ends && p.n == 0 {
		return Piece{}
	}
	if p.n == 0 {
		var b [16]byte
		rand.Read(b[:])
		p.id = hex.EncodeToString(b[:])
	}
	p.n++
	piece := Piece{p.id, p.n, ends}
	if ends {
		p.n = 0
	}
	return piece
}

// Target takes lines. A Send that fails has closed what it stood on; the same line may
// be sent again after opening a new Target. Send returns within the driver's time-out.
// It is not safe for concurrent use.
type Target interface {
	Send(l Line) error
	Close() error
}

// Open connects to the target of c. It returns within the driver's time-out.
func Open(c *Config) (Target, error) {
	d, ok := drivers()[c.Driver]
	if !ok {
		return nil, fault.New(fault.Invalid, "no log driver %q", c.Driver)
	}
	t, err := d.open(c)
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", c.Driver, err)
	}
	return t, nil
}

// Retry says how a driver's options want failures to be met: how long to wait after
// the first, and after how many a line is given up (0: never).
func (c *Config) Retry() (wait time.Duration, most int) { return drivers()[c.Driver].retry(c.Options) }

// timeout bounds every step that waits for somebody else's program or machine.
const timeout = 10 * time.Second

// level is the severity of a line as syslog counts (RFC 5424, 6.2.1).
func (l *Line) level() int {
	if l.Stderr {
		return 3 // error
	}
	return 6 // informational
}
