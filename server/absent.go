package server

import (
	"net/http"

	"hoy/lib/fault"
)

// absent answers for what the engine does not do yet, naming it.
func absent(what string) func(*request) response {
	return func(*request) response {
		return failure{fault.New(fault.NotImplemented, "%s is not built yet", what)}
	}
}

// noSwarm answers as an engine outside a swarm does, which clients know how to take.
func noSwarm(*request) response {
	return failure{fault.New(fault.Unavailable, `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`)}
}

// swarmLeave answers a node that never was in one.
func swarmLeave(*request) response {
	return failure{fault.New(fault.Unavailable, "This node is not part of a swarm")}
}

// pluginList answers that there are none: clients ask for the list in passing.
func pluginList(*request) response { return ok([]struct{}{}) }

// noSuchPlugin answers for any name: clients ask for what might be one.
func noSuchPlugin(r *request) response {
	return failure{fault.New(fault.NotFound, "plugin %q not found", r.vars[0])}
}

// options answers a browser that asks beforehand.
func options(*request) response { return empty(http.StatusOK) }
