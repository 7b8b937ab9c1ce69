package container

import (
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/lib/fault"
)

// The pauses between restarts, as docker has them: they double until a run has
// been a steady one.
const (
	firstPause = 100 * time.Millisecond
	longPause  = time.Minute
	steady     = 10 * time.Second
)

// outcome is how a run ended, and what was before it.
type outcome struct {
	code      int
	ran       time.Duration
	restarts  int           // by policy, since somebody started the container
	pause     time.Duration // before this run
	stopped   bool          // somebody has sent it a signal since they started it
	halted    bool          // that signal was one to end it: it stays down
	unhealthy bool          // the engine ended it, to start it again
}

// next decides what follows a run: again says whether another does, after pause.
// A steady run makes the pauses begin anew.
func next(policy apicontainer.RestartPolicy, o outcome) (pause time.Duration, again bool) {
	switch {
	case o.halted:
	case policy.IsAlways():
		again = true
	case policy.IsUnlessStopped():
		again = !o.stopped || o.unhealthy
	case policy.IsOnFailure():
		again = (o.code != 0 || o.unhealthy) && (policy.MaximumRetryCount == 0 || o.restarts < policy.MaximumRetryCount)
	default:
		again = o.unhealthy
	}
	switch {
	case !again:
		return 0, false
	case o.ran >= steady:
		return firstPause, true
	}
	return longer(o.pause), true
}

// longer is the pause after a pause.
func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, firstPause), longPause)
}

// comesBack tells whether an engine that starts should start a container that does
// not run. One that waited for its restart has been promised it. docker starts one
// that somebody has stopped and that has on-failure, because it was killed: here it
// stays down.
func (r *record) comesBack() bool {
	policy, s := r.Host.RestartPolicy, r.Supervision
	switch {
	case r.State.Status == apicontainer.StateRestarting:
		return true
	case r.State.Status != apicontainer.StateExited || r.State.StartedAt.IsZero():
		return false // never started, or dead
	case policy.IsAlways():
		return true
	case policy.IsUnlessStopped():
		return !s.Stopped
	case policy.IsOnFailure():
		return !s.Stopped && r.State.ExitCode != 0 && (policy.MaximumRetryCount == 0 || s.Restarts < policy.MaximumRetryCount)
	}
	return false
}

// setRestartPolicy changes the policy of a container, running or not: it holds from
// the next exit on.
func (k *Container) setRestartPolicy(p apicontainer.RestartPolicy) error {
	if err := apicontainer.ValidateRestartPolicy(p); err != nil {
		return fault.As(fault.Invalid, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rec().Host.AutoRemove && !p.IsNone() {
		return fault.New(fault.Conflict, "Restart policy cannot be updated because AutoRemove is enabled for the container")
	}
	k.updateLocked(func(r *record) {
		host := *r.Host
		host.RestartPolicy = p
		r.Host = &host
	})
	return nil
}
