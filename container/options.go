package container

import (
	"net"
	"os"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/filters"
)

// CreateRequest is a container to be made.
type CreateRequest struct {
	Name             string            // "" = a random one; a leading slash is dropped
	Platform         *ocispec.Platform // nil = this machine's
	ShallowReadOnly  bool              // read-only binds leave what is mounted below them writable, as before API 1.44
	HostCgroupns     bool              // on cgroup v1 the cgroup namespace is the host's by default, as before API 1.41
	Config           *apicontainer.Config
	HostConfig       *apicontainer.HostConfig  // nil = defaults
	NetworkingConfig *network.NetworkingConfig // nil = defaults
}

// RemoveOptions says how a container is removed.
type RemoveOptions struct {
	Force   bool // kill it first when it runs
	Volumes bool // its anonymous volumes too
	Link    bool // only the link of the default network that the reference names, PARENT/ALIAS
}

// ListOptions chooses and shapes the containers of a list.
type ListOptions struct {
	All     bool // also those that do not run
	Size    bool // compute sizes: reads every writable layer
	Limit   int  // the newest n, running or not; 0 = all
	Filters filters.Filters
}

// LogOptions chooses the part of a log to read.
type LogOptions struct {
	Stdout, Stderr bool
	Follow         bool // until the container stops
	Timestamps     bool // RFC 3339 with nanoseconds before each line
	Details        bool // the record's attributes before each line
	Since, Until   time.Time
	Tail           int // the last n lines; negative = all
}

// LogSink receives a log. Lines come in order and end with their newline.
// stream is 1 for stdout, 2 for stderr.
type LogSink interface {
	Begin(tty bool) // once, when nothing can be refused any more
	Write(stream byte, line []byte) error
	Flush() error // called when no further line is at hand
}

// AttachOptions says which streams an attach connects.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Stream                bool // follow what comes; without it, only Logs
	Logs                  bool // first what was written before
	DetachKeys            string
}

// Stream is a connection taken out of the HTTP server.
type Stream struct {
	Conn    net.Conn // nil when File says it all
	File    *os.File // the socket itself, owned by the receiver; nil when TLS: then the engine copies
	Preread []byte   // what the client sent behind its request
	Raw     bool     // without frames whatever the terminal mode: a websocket
}

// ExecStartOptions says how an exec's process is started.
type ExecStartOptions struct {
	Detach      bool
	TTY         bool
	ConsoleSize *[2]uint // height, width
}

// Hijack takes the connection out of the HTTP server, after answering 101 or 200.
// tty chooses the content type: raw stream or multiplexed frames. It is called
// at most once, when nothing but the start itself can fail any more.
type Hijack func(tty bool) (*Stream, error)
