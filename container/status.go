package container

import (
	"fmt"
	"time"

	"github.com/docker/go-units"
	apicontainer "github.com/moby/moby/api/types/container"
)

// status returns the words docker ps shows for a state.
func (r *record) status(now time.Time) string {
	s := &r.State
	switch s.Status {
	case apicontainer.StateRunning:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt)) + r.healthWords()
	case apicontainer.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
	case apicontainer.StatePaused:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt)) + " (Paused)"
	case apicontainer.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
	case apicontainer.StateRemoving:
		return "Removal In Progress"
	case apicontainer.StateDead:
		return "Dead"
	}
	return "Created"
}

// timestamp formats t as docker's inspect does; the zero time is year one.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
