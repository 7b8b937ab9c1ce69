package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/moby/moby/api/types"

	"hoy/container"
	"hoy/lib/fault"
)

// hijack returns what a backend calls to take over the connection. The answer
// to the client is written then: 101 when it asked for an upgrade, 200 otherwise.
func (r *request) hijack() container.Hijack {
	var taken atomic.Bool
	return func(tty bool) (*container.Stream, error) {
		if taken.Swap(true) {
			return nil, fault.New(fault.Internal, "the connection is taken over already")
		}
		if r.ContentLength > 0 { // docker-modem repeats the query there: it is no input
			io.Copy(io.Discard, r.Body)
		}
		conn, buffered, err := http.NewResponseController(r.w).Hijack()
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot take over the connection: %w", err)
		}
		r.started = true
		if _, err := io.WriteString(conn, r.upgradeHead(tty)); err != nil {
			conn.Close()
			return nil, err
		}
		// The bytes are in the server's buffer, which ends with the request.
		preread, err := io.ReadAll(io.LimitReader(buffered, int64(buffered.Reader.Buffered())))
		if err != nil {
			conn.Close()
			return nil, err
		}
		return newStream(conn, preread)
	}
}

// upgradeHead is the answer's head, in docker's words and order.
func (r *request) upgradeHead(tty bool) string {
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + types.MediaTypeRawStream + "\r\n"
	if r.Header.Get("Upgrade") != "" {
		head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + r.streamType(tty) + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
	}
	for _, name := range []string{"Api-Version", "Docker-Experimental", "Ostype", "Server"} {
		head += name + ": " + r.w.Header().Get(name) + "\r\n"
	}
	return head + "\r\n"
}

// streamType is the media type of output; frames have had one of their own since 1.42.
func (r *request) streamType(tty bool) string {
	if !tty && r.version >= 42 {
		return types.MediaTypeMultiplexedStream
	}
	return types.MediaTypeRawStream
}

// newStream hands over the socket itself where there is one, so that the keeper
// can go on with it without the engine.
func newStream(conn net.Conn, preread []byte) (*container.Stream, error) {
	socket, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return &container.Stream{Conn: conn, Preread: preread}, nil
	}
	file, err := socket.File()
	conn.Close() // the duplicate keeps the socket open
	if err != nil {
		return nil, err
	}
	return &container.Stream{File: file, Preread: preread}, nil
}

// taken is the response of a handler whose connection may be the backend's now.
func taken(err error) response {
	if err != nil {
		return failure{err}
	}
	return nil
}
