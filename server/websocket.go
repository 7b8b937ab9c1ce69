package server

import (
	"sync"
	"sync/atomic"

	"golang.org/x/net/websocket"

	"hoy/container"
	"hoy/lib/fault"
)

// containerAttachWebsocket attaches over a websocket (RFC 6455): the bytes of both
// directions are binary frames, text before 1.28, and output is not multiplexed.
func containerAttachWebsocket(r *request) response {
	return taken(r.server.Containers.Attach(r.Context(), r.vars[0], r.attachOptions(), r.websocket()))
}

// websocketConn is a connection whose handler waits until it is closed: the library
// closes it when that returns.
type websocketConn struct {
	*websocket.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *websocketConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// websocket is hijack for a websocket.
func (r *request) websocket() container.Hijack {
	var taken atomic.Bool
	return func(bool) (*container.Stream, error) {
		if taken.Swap(true) {
			return nil, fault.New(fault.Internal, "the connection is taken over already")
		}
		r.started = true
		conns := make(chan *websocketConn, 1)
		// The origin has been looked at, see refuseBrowser.
		s := websocket.Server{Handler: func(ws *websocket.Conn) {
			if r.version >= 28 {
				ws.PayloadType = websocket.BinaryFrame
			}
			c := &websocketConn{Conn: ws, closed: make(chan struct{})}
			conns <- c
			<-c.closed
		}}
		go func() {
			defer close(conns)
			s.ServeHTTP(r.w, r.Request)
		}()
		c, ok := <-conns
		if !ok {
			return nil, fault.New(fault.Invalid, "this is no request for a websocket")
		}
		return &container.Stream{Conn: c, Raw: true}, nil
	}
}
