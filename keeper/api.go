// Package keeper holds containers: it clones them, is their parent, keeps their
// terminals, pipes, logs and exit codes, and outlives the engine that asked for them.
package keeper

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper/ship"
	"hoy/linux/spawn"
)

// Options says which keeper a Client wants.
type Options struct {
	Exec     string // the hoy-keeper binary, to start one when none answers
	ExecRoot string // directory of sockets, FIFOs and state; one keeper each

	Cgroup *os.File // directory of the control group that a keeper is born into, on v2; nil: the caller's

	// Warn, if set, is told when a keeper of another build could not be upgraded to
	// Exec: that one goes on.
	Warn func(error)

	// Rehold, if set, is called when another keeper has taken the place of one that died
	// while the Client was connected: it holds no networks and knows no names, until the
	// engine opens the sockets anew. An upgraded keeper still has everything.
	Rehold func(context.Context)
}

// SpawnRequest asks for a process. Repeating a request with the same ID and
// Generation returns the process that the first one started.
type SpawnRequest struct {
	ID         string // container id or exec id: letters, digits, '_', '-', '.'
	Generation uint64 // counts the starts of ID; a higher one replaces a finished process

	Plan    *spawn.Plan
	Console *os.File // pty master, borrowed; nil: standard streams are FIFOs of the keeper

	OpenStdin bool // without it, standard input of a FIFO process is /dev/null
	StdinOnce bool // standard input ends when the first client's does

	Log      *LogConfig    // nil: no log
	Attach   []Attachment  // clients attached before the start: they miss no byte
	Tied     bool          // killed when this engine's connection ends
	Deadline time.Duration // how long the child may take to exec; 0: 30 s

	// OnTimeout, if set, is called when there is no answer by the deadline. The keeper
	// kills the child then, but a task in a frozen cgroup v1 dies only when it is thawed.
	OnTimeout func()
}

// LogConfig says where output is logged. Whatever the driver, it goes into files on
// this machine, as they can be read back; a driver that ships takes it from there.
type LogConfig struct {
	Driver   string            // "none": no log
	Path     string            // of the file; "": in the exec root, until the process ends
	MaxSize  int64             // bytes in a file; 0: 20 MB, negative: unlimited
	MaxFile  int               // files kept; 0: 3
	Compress bool              // files from the third on
	Attrs    map[string]string // written with every line, when there are any

	Ship      *ship.Config // nil: the log stays here
	MaxBuffer int64        // bytes of log that the target may be behind before lines are dropped; 0: what the files hold
}

// Attachment is a client's stream socket. The keeper gets a duplicate of it; the
// caller's own is closed when Attach or Spawn has succeeded.
type Attachment struct {
	Conn                  *os.File
	Stdin, Stdout, Stderr bool
	Mux                   bool   // frames of 8 bytes: stream, 0, 0, 0, length (big-endian)
	DetachKeys            []byte // none: ctrl-p ctrl-q; only terminals have them
	Preread               []byte // input that was read from Conn already
}

// Process is a process held by the keeper. Pidfd belongs to the Client and is open
// until the exit is acknowledged. Console is the one given to Spawn.
type Process struct {
	ID         string
	Generation uint64
	Pid        int
	Pidfd      *os.File
	Console    *os.File
	StartedAt  time.Time
}

// Held is what the keeper knows of a process. Exit is nil while it runs.
type Held struct {
	Process
	Terminal, OpenStdin, Tied bool
	Exit                      *Exit
}

// Exit is the end of a process.
type Exit struct {
	ID         string          `json:"id"`
	Generation uint64          `json:"generation"`
	Code       int             `json:"code"`   // exit code; 128 + signal; 255 when unknown
	Status     unix.WaitStatus `json:"status"` // as wait4(2) gives it
	At         time.Time       `json:"at"`
	Error      string          `json:"error,omitempty"` // why the code is unknown
}
