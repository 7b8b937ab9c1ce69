package container

import (
	"time"

	"hoy/container/spec"
)

// defaults are what containers get that do not say otherwise.
type defaults struct {
	host        spec.Host
	stopTimeout time.Duration
}

// SetDefaults replaces what the machine and the engine's options make of a container
// that does not say otherwise: for creates and starts from now on, and for stops how
// long a container may take.
func (c *Containers) SetDefaults(host spec.Host, stopTimeout time.Duration) {
	c.now.Store(&defaults{host, stopTimeout})
}

func (c *Containers) host() spec.Host { return c.now.Load().host }
