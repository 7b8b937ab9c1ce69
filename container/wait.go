package container

import (
	"context"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/lib/fault"
)

// waiter is somebody who waits for a change of state.
type waiter struct {
	condition apicontainer.WaitCondition
	answer    chan apicontainer.WaitResponse // room for one
}

// Wait returns a channel that receives the exit code once condition holds:
// not-running (the default) may hold already, next-exit and removed never do. It
// is registered when Wait returns; ctx ends the registration.
func (c *Containers) Wait(ctx context.Context, ref string, condition apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error) {
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	w := waiter{condition, make(chan apicontainer.WaitResponse, 1)}
	switch condition {
	case "", apicontainer.WaitConditionNotRunning:
		w.condition = apicontainer.WaitConditionNotRunning
	case apicontainer.WaitConditionNextExit, apicontainer.WaitConditionRemoved:
	default:
		return nil, fault.New(fault.Invalid, "invalid condition: %q", condition)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w.condition == apicontainer.WaitConditionNotRunning && !k.rec().isRunning() {
		w.answer <- k.rec().State.response()
		return w.answer, nil
	}
	if c.index.gone(k) {
		return nil, fault.New(fault.NotFound, "No such container: %s", ref)
	}
	k.waiters = append(k.waiters, w)
	context.AfterFunc(ctx, func() { k.forget(w) })
	return w.answer, nil
}

func (k *Container) forget(w waiter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.waiters {
		if k.waiters[i].answer == w.answer {
			k.waiters = append(k.waiters[:i], k.waiters[i+1:]...)
			return
		}
	}
}

// answer tells those who wait for one of conditions how the container ended.
func (k *Container) answer(conditions ...apicontainer.WaitCondition) {
	k.mu.Lock()
	defer k.mu.Unlock()
	response := k.rec().State.response()
	kept := k.waiters[:0]
	for _, w := range k.waiters {
		answered := false
		for _, c := range conditions {
			if w.condition == c {
				w.answer <- response
				answered = true
			}
		}
		if !answered {
			kept = append(kept, w)
		}
	}
	clear(k.waiters[len(kept):])
	k.waiters = kept
}

func (s *state) response() apicontainer.WaitResponse {
	r := apicontainer.WaitResponse{StatusCode: int64(s.ExitCode)}
	if s.Error != "" {
		r.Error = &apicontainer.WaitExitError{Message: s.Error}
	}
	return r
}
