package build

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	bkcontrol "github.com/moby/buildkit/control"
	"github.com/moby/buildkit/util/grpcerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// ServeControl speaks BuildKit's own protocol (gRPC, moby.buildkit.v1.Control and its
// neighbours) on conn, until that ends. It owns conn.
func (b *Builder) ServeControl(ctx context.Context, conn net.Conn) error {
	c, err := b.control(ctx)
	if err != nil {
		conn.Close()
		return err
	}
	return c.server.serve(ctx, conn)
}

// ServeHTTP answers a call of BuildKit's protocol that came by HTTP/2 on a connection with
// other requests.
func (b *Builder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := b.control(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	c.server.grpc.ServeHTTP(w, r)
}

// ServeSession makes conn, at whose other end a client serves its files and secrets
// (gRPC), a session for builds, until it ends. meta is what the client says of itself:
// the headers X-Docker-Expose-Session-…. ServeSession owns conn.
func (b *Builder) ServeSession(ctx context.Context, conn net.Conn, meta map[string][]string) error {
	return b.sessions.HandleConn(ctx, conn, meta)
}

// controlServer serves connections as they come.
type controlServer struct {
	grpc  *grpc.Server
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
	done  chan struct{}
}

// maxMessage of a request, as buildkitd has it: definitions of builds are large.
const maxMessage = 16 << 20

func newControlServer(c *bkcontrol.Controller) *controlServer {
	s := &controlServer{conns: make(chan net.Conn), ended: make(chan struct{}), done: make(chan struct{})}
	s.grpc = grpc.NewServer(grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor), grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	c.Register(s.grpc)
	healthapi.RegisterHealthServer(s.grpc, health.NewServer())
	go func() {
		defer close(s.done)
		s.grpc.Serve(s)
	}()
	return s
}

func (s *controlServer) serve(ctx context.Context, conn net.Conn) error {
	w := &watchedConn{Conn: conn, closed: make(chan struct{})}
	select {
	case s.conns <- w:
	case <-s.ended:
		conn.Close()
		return errClosed
	}
	select {
	case <-w.closed:
		return nil
	case <-ctx.Done():
		conn.Close()
		<-w.closed
		return context.Cause(ctx)
	}
}

// close breaks all connections: who waits for a build is told that it failed.
func (s *controlServer) close() {
	s.once.Do(func() { close(s.ended) })
	s.grpc.Stop()
	<-s.done
}

// Accept, Close and Addr make it the listener of its server.
func (s *controlServer) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.ended:
		return nil, errors.New("closed")
	}
}

// Close is Accept's end.
func (s *controlServer) Close() error { s.once.Do(func() { close(s.ended) }); return nil }

// Addr is nobody's: connections come from elsewhere.
func (s *controlServer) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// watchedConn tells when it was closed.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *watchedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}
