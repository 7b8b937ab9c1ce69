package server

import (
	"net/http"
	"strconv"

	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/lib/fault"
)

func networkList(r *request) response {
	f, err := r.filters("dangling", "driver", "id", "label", "name", "scope", "type")
	if err != nil {
		return failure{err}
	}
	list, err := r.server.Networks.List(r.Context(), f)
	if list == nil {
		list = []apinetwork.Summary{}
	}
	return result(list, err)
}

// networkInspect describes a network, since version 1.52 with the use of its addresses.
func networkInspect(r *request) response {
	if v := r.value("verbose"); v != "" { // it is about services of a swarm
		if _, err := strconv.ParseBool(v); err != nil {
			return failure{fault.New(fault.Invalid, "invalid value for verbose: %s: %w", v, err)}
		}
	}
	n, err := r.server.Networks.Inspect(r.Context(), r.vars[0])
	if err != nil {
		return failure{err}
	}
	if scope := r.value("scope"); scope != "" && scope != n.Scope {
		return failure{fault.New(fault.NotFound, "network %s not found", r.vars[0])}
	}
	if r.version < 52 {
		n.Status = nil
	}
	return ok(n)
}

func networkCreate(r *request) response {
	var c apinetwork.CreateRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	if r.version < 48 {
		c.EnableIPv4 = nil
	}
	n, err := r.server.Networks.Create(r.Context(), c)
	if err != nil {
		return failure{err}
	}
	return created(n)
}

func networkRemove(r *request) response {
	return done(http.StatusNoContent, r.server.Networks.Remove(r.Context(), r.vars[0]))
}

func networkPrune(r *request) response {
	f, err := r.filters("label", "label!", "until")
	if err != nil {
		return failure{err}
	}
	return result(r.server.Networks.Prune(r.Context(), f))
}

// networkConnect puts a container on a network; a hardware address can be asked for
// since version 1.54.
func networkConnect(r *request) response {
	var c apinetwork.ConnectRequest
	if err := r.body(&c); err != nil {
		return failure{err}
	}
	if r.version < 54 && c.EndpointConfig != nil {
		c.EndpointConfig.MacAddress = nil
	}
	return done(http.StatusOK, r.server.Networks.Connect(r.Context(), r.vars[0], c))
}

func networkDisconnect(r *request) response {
	var d apinetwork.DisconnectRequest
	if err := r.body(&d); err != nil {
		return failure{err}
	}
	return done(http.StatusOK, r.server.Networks.Disconnect(r.Context(), r.vars[0], d))
}

// containerReach says who can reach a container's published ports.
func containerReach(r *request) response {
	return result(r.server.Networks.Reach(r.Context(), r.vars[0]))
}
