package spec

import (
	"github.com/moby/moby/api/types/container"
)

// OnUnhealthyLabel says what becomes of a container that its health check calls
// unhealthy. Docker has no such thing, and a label is what every client of docker's
// passes on: the command line as --on-unhealthy, others as a label, Compose files too.
const OnUnhealthyLabel = "hoy.on-unhealthy"

// The label's values. Nothing, as docker has it, is the default.
const (
	OnUnhealthyNone    = "none"
	OnUnhealthyRestart = "restart" // stopped, then started again, whatever the restart policy is
	OnUnhealthyStop    = "stop"    // stopped, as if somebody did it
)

// OnUnhealthy checks the label of a container, whose configuration is merged with the
// image's.
func OnUnhealthy(c *container.Config, h *container.HostConfig) (warning string, err error) {
	switch action := c.Labels[OnUnhealthyLabel]; action {
	case "", OnUnhealthyNone:
		return "", nil
	case OnUnhealthyStop:
	case OnUnhealthyRestart:
		if h.AutoRemove {
			return "", invalid("can't create 'AutoRemove' container that is restarted when unhealthy")
		}
	default:
		return "", invalid("invalid value %q of on-unhealthy: must be none, restart or stop", action)
	}
	if t := c.Healthcheck; t == nil || len(t.Test) == 0 || t.Test[0] == "NONE" {
		return "The container has no health check: on-unhealthy has no effect.", nil
	}
	return "", nil
}
