package keeper

import (
	"context"

	"hoy/lib/fault"
)

// Client is the engine's side of a keeper.
type Client struct {
	exits chan Exit
	lost  chan struct{}
}

var errNotYet = fault.New(fault.NotImplemented, "keeper")

// Start connects to the keeper of o.ExecRoot, starting one if none answers.
func Start(ctx context.Context, o Options) (*Client, error) { return nil, errNotYet }

// Close ends the connection. Processes that are not tied run on.
func (c *Client) Close() error { return nil }

// Spawn starts a process.
func (c *Client) Spawn(ctx context.Context, r SpawnRequest) (*Process, error) { return nil, errNotYet }

// Attach gives a client's socket to the process id.
func (c *Client) Attach(ctx context.Context, id string, a Attachment) error { return errNotYet }

// Resize sets the size of the terminal of id.
func (c *Client) Resize(ctx context.Context, id string, rows, cols uint16) error { return errNotYet }

// CloseStdin ends the standard input of id.
func (c *Client) CloseStdin(ctx context.Context, id string) error { return errNotYet }

// List returns what the keeper holds, finished but unacknowledged processes too.
func (c *Client) List(ctx context.Context) ([]Held, error) { return nil, errNotYet }

// Exits gives every exit once, those from before Start that nobody acknowledged too.
func (c *Client) Exits() <-chan Exit { return c.exits }

// Ack lets the keeper forget an exit: it is recorded.
func (c *Client) Ack(ctx context.Context, id string, generation uint64) error { return errNotYet }

// Lost receives a value when the keeper died and another took over its processes.
func (c *Client) Lost() <-chan struct{} { return c.lost }
