package standin

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	events "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"

	"hoy/shim"
)

// listener takes what a shim tells of the container. All but one thing is known here
// anyhow: that memory was lacking is gone with the group when the container has ended.
type listener struct{ bundle shim.Bundle }

func (l listener) Forward(_ context.Context, r *events.ForwardRequest) (*emptypb.Empty, error) {
	if r.GetEnvelope().GetTopic() == "/tasks/oom" {
		os.WriteFile(l.bundle.Path("oom"), nil, 0o600)
	}
	return &emptypb.Empty{}, nil
}

// listen serves the shim's events and takes away its log, which it writes into a FIFO.
// The working directory is the bundle. The address leads to the socket by way of this
// process: paths of sockets are short.
func listen(b shim.Bundle) (address string, err error) {
	l, err := net.Listen("unix", "events")
	if err != nil {
		return "", err
	}
	s, err := ttrpc.NewServer()
	if err != nil {
		return "", err
	}
	events.RegisterTTRPCEventsService(s, listener{b})
	go s.Serve(context.Background(), l)
	if err := unix.Mkfifo("log", 0o600); err != nil {
		return "", err
	}
	log, err := os.OpenFile("log", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	go io.Copy(io.Discard, log)
	return fmt.Sprintf("unix:///proc/%d/cwd/events", os.Getpid()), nil
}
