package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"

	"hoy/lib/fault"
)

// buildSession is POST /session: the client's connection becomes one on which BuildKit
// calls the client, for files, secrets and credentials.
func buildSession(r *request) response {
	if r.Header.Get("X-Docker-Expose-Session-Uuid") == "" {
		return failure{fault.New(fault.Invalid, "a session needs the header X-Docker-Expose-Session-Uuid")}
	}
	return r.serveUpgraded(func(ctx context.Context, conn net.Conn) error {
		return r.server.Builds.ServeSession(ctx, conn, r.Header)
	})
}

// buildControl is POST /grpc: the client calls BuildKit on its connection.
func buildControl(r *request) response {
	return r.serveUpgraded(r.server.Builds.ServeControl)
}

// serveUpgraded takes the connection over for HTTP/2, and returns when serve does.
func (r *request) serveUpgraded(serve func(ctx context.Context, conn net.Conn) error) response {
	switch proto := r.Header.Get("Upgrade"); proto {
	case "h2c":
	case "":
		return failure{fault.New(fault.Invalid, "no upgrade proto in request")}
	default:
		return failure{fault.New(fault.Invalid, "protocol %s not supported", proto)}
	}
	ctx, cancel := r.streaming()
	defer cancel()
	conn, buffered, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		return failure{fault.New(fault.Invalid, "cannot take over the connection: %w", err)}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r.started = true
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"); err != nil {
		return nil // the client has gone
	}
	// What the client sent behind its request is in the server's buffer.
	if err := serve(ctx, &prereadConn{conn, io.MultiReader(io.LimitReader(buffered, int64(buffered.Reader.Buffered())), conn)}); err != nil && ctx.Err() == nil {
		r.server.Log.Debug("a client's connection broke off", "path", r.URL.Path, "error", err)
	}
	return nil
}

// prereadConn is a connection of which something has been read.
type prereadConn struct {
	net.Conn
	r io.Reader
}

func (c *prereadConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// isGRPC reports whether a request is a call of BuildKit by HTTP/2, as newer clients
// make it on the API's own address.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}
