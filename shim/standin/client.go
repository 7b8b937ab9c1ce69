package standin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"hoy/shim"
)

// client calls a shim's task API. Its versions 2 and 3 differ in the service's name
// alone.
type client struct {
	*ttrpc.Client
	id      string // of the container
	service string
	closed  chan struct{} // closed when the shim is gone
}

// dialTimeout is how long a shim that runs may take to accept a connection.
const dialTimeout = 10 * time.Second

func dial(id string, a shim.Address) (*client, error) {
	if a.Version < 2 || a.Version > 3 {
		return nil, fmt.Errorf("the shim speaks version %d of the task API, hoy 2 and 3", a.Version)
	}
	path, found := strings.CutPrefix(a.Address, "unix://")
	if !found {
		if strings.Contains(a.Address, "://") {
			return nil, fmt.Errorf("the shim is at %s, which hoy cannot reach", a.Address)
		}
		path = "@" + a.Address // an abstract one
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err != nil {
		return nil, err
	}
	t := &client{id: id, service: "containerd.task.v" + strconv.Itoa(a.Version) + ".Task", closed: make(chan struct{})}
	t.Client = ttrpc.NewClient(conn, ttrpc.WithOnClose(func() { close(t.closed) }))
	return t, nil
}

// reach connects to the shim of a bundle. One whose container has ended is errGone.
func reach(b shim.Bundle) (*client, error) {
	var t shim.Task
	var a shim.Address
	err := b.Read("task.json", &t)
	if err == nil {
		err = b.Read("shim.json", &a)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	c, err := dial(t.ID, a)
	if err != nil && (!b.Has("shim.json") || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)) {
		return nil, errGone // the stand-in is about to see that, too
	}
	return c, err
}

func (t *client) close() { t.Client.Close() }

// call makes a call. answer may be nil.
func (t *client) call(ctx context.Context, method string, request, answer proto.Message) error {
	if answer == nil {
		answer = &emptypb.Empty{}
	}
	ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"containerd-namespace-ttrpc": {shim.Namespace}})
	return t.Client.Call(ctx, t.service, method, request, answer)
}

var errGone = errors.New("the container has ended")

// isGone tells whether what a call was about is no more. Shims say so in two ways.
func isGone(err error) bool {
	return errors.Is(err, errGone) || status.Code(err) == codes.NotFound || strings.Contains(err.Error(), "process already finished")
}

func isRefusal(err error) bool { return status.Code(err) == codes.Unimplemented }

// words are an error's, without those of the protocol.
func words(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}

// environment is that of a shim: the engine's, and where it shall send what it has to
// tell.
func environment(events string) []string {
	return append(os.Environ(), "GOMAXPROCS=2", "MAX_SHIM_VERSION=2", "NAMESPACE="+shim.Namespace,
		"TTRPC_ADDRESS="+events, "GRPC_ADDRESS="+events)
}
