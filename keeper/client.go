package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/lib/filelimit"
)

// Client is the engine's side of a keeper.
//
//	c, err := keeper.Start(ctx, keeper.Options{Exec: "/usr/lib/hoy/hoy-keeper", ExecRoot: "/run/hoy"})
//	p, err := c.Spawn(ctx, keeper.SpawnRequest{ID: id, Generation: 1, Plan: plan, Log: …})
//	for e := range c.Exits() {
//		… // record it
//		c.Ack(ctx, e.ID, e.Generation)
//	}
//
// When the keeper dies, the client starts another, hands it duplicates of what must
// not be closed (pidfds, terminals, standard input), and repeats the requests that
// were not answered. Its methods may be called from any goroutine.
type Client struct {
	o     Options
	exits chan Exit
	lost  chan struct{}
	ctx   context.Context // ended by Close
	close context.CancelFunc

	life atomic.Uint64 // of the keeper; see helloReply

	mu      sync.Mutex
	link    *link         // nil while there is no keeper
	changed chan struct{} // closed when link or down changes
	down    error         // why no keeper can be had, for now
	kept    map[string]*kept
	early   map[letGoBody]bool // while a keeper is greeted: let go before it was kept
	renewed bool               // a keeper was asked to make place for another build
	told    map[exitKey]bool   // exits given to Exits and not acknowledged
	awaited map[string]chan Exit
	queue   []Exit
	queued  chan struct{} // signals that queue is not empty
}

type exitKey struct {
	id         string
	generation uint64
}

// Start connects to the keeper of o.ExecRoot, starting one if none answers.
func Start(ctx context.Context, o Options) (*Client, error) {
	c := &Client{o: o, exits: make(chan Exit), lost: make(chan struct{}, 1), changed: make(chan struct{}),
		kept: map[string]*kept{}, told: map[exitKey]bool{}, awaited: map[string]chan Exit{}, queued: make(chan struct{}, 1)}
	c.ctx, c.close = context.WithCancel(context.Background())
	if err := c.connect(ctx, false); err != nil {
		c.close()
		return nil, err
	}
	go c.feed()
	return c, nil
}

// Close ends the connection. Processes that are not tied run on.
func (c *Client) Close() error {
	c.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.end()
	}
	for id, k := range c.kept {
		k.close()
		delete(c.kept, id)
	}
	return nil
}

// Exits gives every exit once, those from before Start that nobody acknowledged too,
// except those of Await. The channel is never closed.
func (c *Client) Exits() <-chan Exit { return c.exits }

// Await gives the exit of the process id, which is to be spawned, to the caller alone.
// forget ends that; it must be called.
func (c *Client) Await(id string) (exit <-chan Exit, forget func()) {
	ch := make(chan Exit, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaited[id] = ch
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.awaited, id)
	}
}

// Lost receives a value when the keeper died and another took over its processes.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Spawn starts a process. A failed step of the plan comes as a *spawn.StepError, for
// the maker of the plan to put into words.
func (c *Client) Spawn(ctx context.Context, r SpawnRequest) (*Process, error) {
	if err := checkID(r.ID); err != nil {
		return nil, err
	}
	b := spawnBody{ID: r.ID, Generation: r.Generation, Files: len(r.Plan.Files), Terminal: r.Console != nil,
		OpenStdin: r.OpenStdin, StdinOnce: r.StdinOnce, Log: r.Log, Tied: r.Tied, Deadline: int64(r.Deadline)}
	fds := fdsOf(append([]*os.File{r.Plan.Memfd}, r.Plan.Files...))
	if r.Console != nil {
		fds = append(fds, int(r.Console.Fd()))
	}
	for _, a := range r.Attach {
		b.Attach = append(b.Attach, a.body(r.ID, r.Generation))
		fds = append(fds, int(a.Conn.Fd()))
	}
	// What comes back must find room: a process that nobody holds would be half a start.
	if err := filelimit.Room(keptFiles + len(r.Attach)); err != nil {
		return nil, filelimit.Explain("the engine", fmt.Errorf("cannot start %s: %w", r.ID, err))
	}
	if err := c.keepBefore(r, b.Attach); err != nil {
		return nil, filelimit.Explain("the engine", err)
	}
	if r.OnTimeout != nil {
		deadline := r.Deadline
		if deadline <= 0 {
			deadline = defaultDeadline
		}
		defer time.AfterFunc(deadline+lateness, r.OnTimeout).Stop()
	}
	place := r.Plan.Begin
	if place >= 0 {
		place++ // behind the memfd
	}
	reply, got, err := c.callSpawn(ctx, b, fds, place)
	if err != nil {
		c.drop(r.ID, r.Generation)
		return nil, err
	}
	for _, a := range r.Attach {
		a.Conn.Close()
	}
	var p processBody
	if err := json.Unmarshal(reply, &p); err != nil {
		closeAll(got)
		return nil, fmt.Errorf("cannot understand the keeper: %w", err)
	}
	k := c.keep(&p, got)
	c.begun(k)
	return &Process{p.ID, p.Generation, p.Pid, k.pidfd, r.Console, unixTime(p.StartedAt)}, nil
}

func (a *Attachment) body(id string, generation uint64) attachBody {
	return attachBody{id, generation, rand.Uint64() | 1, a.Stdin, a.Stdout, a.Stderr, a.Mux, a.DetachKeys, a.Preread, false}
}

// Attach gives a client's socket to the process id. The keeper closes it when the
// process ends, the client detaches, or it does not read and is 1 MiB behind: unlike
// those of Spawn it does not hold up the process.
func (c *Client) Attach(ctx context.Context, id string, a Attachment) error {
	c.mu.Lock()
	k := c.kept[id]
	c.mu.Unlock()
	b := a.body(id, 0)
	b.Spectator = true
	if k != nil {
		b.Generation = k.generation
		fd, err := unix.FcntlInt(a.Conn.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot keep client of %s: %w", id, err)
		}
		c.keepClient(b, fd)
	}
	if _, _, err := c.call(ctx, typeAttach, b, fdsOf([]*os.File{a.Conn})); err != nil {
		c.letGo(letGoBody{b.ID, b.Generation, b.Client})
		return err
	}
	a.Conn.Close()
	return nil
}

// Resize sets the size of the terminal of id.
func (c *Client) Resize(ctx context.Context, id string, rows, cols uint16) error {
	_, _, err := c.call(ctx, typeResize, resizeBody{id, rows, cols}, nil)
	return err
}

// CloseStdin ends the standard input of id, if that is not a terminal.
func (c *Client) CloseStdin(ctx context.Context, id string) error {
	_, _, err := c.call(ctx, typeCloseStdin, idBody{ID: id}, nil)
	return err
}

// List returns what the keeper holds, finished but unacknowledged processes too.
func (c *Client) List(ctx context.Context) ([]Held, error) {
	var held []Held
	err := c.list(ctx, func(p *processBody, fds []int) {
		h := Held{Process: Process{ID: p.ID, Generation: p.Generation, Pid: p.Pid, StartedAt: unixTime(p.StartedAt)},
			Terminal: p.Terminal, OpenStdin: p.OpenStdin, Tied: p.Tied, Exit: p.Exit}
		if p.Exit == nil {
			h.Pidfd = c.keep(p, fds).pidfd
		}
		held = append(held, h)
	})
	return held, err
}

// Ack lets the keeper forget an exit: it is recorded.
func (c *Client) Ack(ctx context.Context, id string, generation uint64) error {
	_, _, err := c.call(ctx, typeAck, idBody{id, generation}, nil)
	if err == nil {
		c.drop(id, generation)
		c.mu.Lock()
		delete(c.told, exitKey{id, generation})
		c.mu.Unlock()
	}
	return err
}

func fdsOf(fs []*os.File) []int {
	fds := make([]int, len(fs))
	for i, f := range fs {
		fds[i] = int(f.Fd())
	}
	return fds
}

// feed gives queued exits to whoever reads Exits.
func (c *Client) feed() {
	for {
		c.mu.Lock()
		var next Exit
		out := c.exits
		if len(c.queue) > 0 {
			next = c.queue[0]
		} else {
			out = nil
		}
		c.mu.Unlock()
		select {
		case out <- next:
			c.mu.Lock()
			c.queue = c.queue[1:]
			c.mu.Unlock()
		case <-c.queued:
		case <-c.ctx.Done():
			return
		}
	}
}

// tell queues an exit that was not told before.
func (c *Client) tell(e Exit) {
	c.mu.Lock()
	key := exitKey{e.ID, e.Generation}
	if !c.told[key] {
		c.told[key] = true
		if ch := c.awaited[e.ID]; ch != nil {
			ch <- e // it has room: an id ends once
			delete(c.awaited, e.ID)
		} else {
			c.queue = append(c.queue, e)
		}
	}
	c.mu.Unlock()
	select {
	case c.queued <- struct{}{}:
	default:
	}
}

var errClosed = fault.New(fault.Unavailable, "the connection to the keeper is closed")

// keptFiles is how many duplicates are kept of a process, besides its clients' sockets.
const keptFiles = 8

const (
	restartPause = 100 * time.Millisecond
	lateness     = 100 * time.Millisecond // of a keeper's answer about a missed deadline
)
