package server

import (
	"io"
	"net/http"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container"
	"hoy/lib/fault"
)

func execCreate(r *request) response {
	var c apicontainer.ExecCreateRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	if len(c.Cmd) == 0 {
		return failure{fault.New(fault.Invalid, "No exec command specified")}
	}
	if r.version < 42 {
		c.ConsoleSize = nil
	}
	id, err := r.server.Containers.ExecCreate(r.Context(), r.vars[0], c)
	if err != nil {
		return failure{err}
	}
	return created(apicontainer.ExecCreateResponse{ID: id})
}

func execStart(r *request) response {
	var c apicontainer.ExecStartRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	o := container.ExecStartOptions{Detach: c.Detach, TTY: c.Tty}
	if c.Tty && r.version >= 42 {
		o.ConsoleSize = c.ConsoleSize
	}
	hijack := r.hijack()
	err := r.server.Containers.ExecStart(r.Context(), r.vars[0], o, hijack)
	switch {
	case c.Detach:
		return done(http.StatusOK, err)
	case err == nil || r.started || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict):
		return taken(err)
	}
	return r.failedExec(err, c.Tty, hijack)
}

// failedExec says in the stream why the process could not be started: docker's
// clients do not show the body of a refused upgrade. The exit code tells the rest.
func (r *request) failedExec(err error, tty bool, hijack container.Hijack) response {
	stream, hijackErr := hijack(tty)
	if hijackErr != nil {
		return taken(hijackErr)
	}
	var w io.WriteCloser = stream.File
	if stream.File == nil {
		w = stream.Conn
	}
	defer w.Close()
	text := err.Error() + "\r\n"
	if !tty {
		text = string(frameHead(1, len(text))) + text
	}
	io.WriteString(w, text)
	return nil
}

func execInspect(r *request) response {
	return result(r.server.Containers.ExecInspect(r.Context(), r.vars[0]))
}

func execResize(r *request) response {
	rows, cols, err := r.size()
	if err != nil {
		return failure{err}
	}
	return done(http.StatusOK, r.server.Containers.ExecResize(r.Context(), r.vars[0], rows, cols))
}
