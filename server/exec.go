package server

import (
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
	err := r.server.Containers.ExecStart(r.Context(), r.vars[0], o, r.hijack())
	if c.Detach {
		return done(http.StatusOK, err)
	}
	return taken(err)
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
