package container

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/keeper"
	"hoy/lib/fault"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func waiting(t *testing.T, c *Containers, ref string, cond apicontainer.WaitCondition) <-chan apicontainer.WaitResponse {
	ch, err := c.Wait(t.Context(), ref, cond)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func answered(ch <-chan apicontainer.WaitResponse) (int64, bool) {
	select {
	case r := <-ch:
		return r.StatusCode, true
	default:
		return 0, false
	}
}

func TestWaitConditions(t *testing.T) {
	c := listed()
	if code, ok := answered(waiting(t, c, "old", "")); !ok || code != 3 {
		t.Errorf("not-running, of one that does not run: %d %v", code, ok)
	}
	notRunning, next, removed := waiting(t, c, "mid", "not-running"), waiting(t, c, "mid", "next-exit"), waiting(t, c, "mid", "removed")
	k, _ := c.index.get("mid")
	k.update(func(r *record) { r.State.Status, r.State.ExitCode, r.State.Error = "exited", 9, "why" })
	k.answer(apicontainer.WaitConditionNotRunning, apicontainer.WaitConditionNextExit)
	for _, ch := range []<-chan apicontainer.WaitResponse{notRunning, next} {
		if r := <-ch; r.StatusCode != 9 || r.Error == nil || r.Error.Message != "why" {
			t.Errorf("%+v", r)
		}
	}
	if _, ok := answered(removed); ok {
		t.Error("removed, but it is there")
	}
	c.index.remove(k)
	k.answer(apicontainer.WaitConditionRemoved)
	if code, ok := answered(removed); !ok || code != 9 {
		t.Errorf("removed: %d %v", code, ok)
	}
	if _, err := c.Wait(t.Context(), "new", "nonsense"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if _, err := c.Wait(t.Context(), "mid", ""); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestWaiterThatLeavesIsForgotten(t *testing.T) {
	c := listed()
	ctx, cancel := context.WithCancel(t.Context())
	k, _ := c.index.get("mid")
	if _, err := c.Wait(ctx, "mid", "next-exit"); err != nil {
		t.Fatal(err)
	}
	kept := waiting(t, c, "mid", "next-exit")
	cancel()
	for {
		k.mu.Lock()
		n := len(k.waiters)
		k.mu.Unlock()
		if n == 1 {
			break
		}
	}
	k.answer("next-exit")
	if _, ok := answered(kept); !ok {
		t.Error("the wrong one was forgotten")
	}
}

func TestOneOperationAtATime(t *testing.T) {
	c := listed()
	k, _ := c.index.get("mid")
	k.process = &process{Process: &keeper.Process{}, done: make(chan struct{})}
	for _, tc := range []struct {
		what string
		err  error
		kind fault.Kind
	}{
		{"start of a running one", c.Start(t.Context(), "mid"), fault.NotModified},
		{"removal of a running one", c.Remove(t.Context(), "mid", RemoveOptions{}), fault.Conflict},
		{"stop of a stopped one", c.Stop(t.Context(), "old", "", nil), fault.NotModified},
		{"kill of a stopped one", c.Kill(t.Context(), "old", ""), fault.Conflict},
		{"a signal that is none", c.Kill(t.Context(), "old", "SIGNONSENSE"), fault.Invalid},
		{"exec in a stopped one", second(c.ExecCreate(t.Context(), "old", apicontainer.ExecCreateRequest{Cmd: []string{"x"}})), fault.Conflict},
		{"exec of nothing", second(c.ExecCreate(t.Context(), "mid", apicontainer.ExecCreateRequest{})), fault.Invalid},
		{"removal of a link", c.Remove(t.Context(), "old", RemoveOptions{Link: true}), fault.Conflict},
	} {
		if !fault.Is(tc.err, tc.kind) {
			t.Errorf("%s: %v", tc.what, tc.err)
		}
	}
	// Somebody is removing it: nothing else may begin.
	old, _ := c.index.get("old")
	old.removing = true
	if err := c.Start(t.Context(), "old"); !fault.Is(err, fault.Conflict) {
		t.Error(err)
	}
	if err := c.Remove(t.Context(), "old", RemoveOptions{Force: true}); !fault.Is(err, fault.Conflict) || err.Error() != "removal of container old is already in progress" {
		t.Error(err)
	}
	// Whoever waits for the lock can give up; list and inspect do not need it.
	k.op.lock(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Start(ctx, "mid"); err != context.Canceled {
		t.Error(err)
	}
	if l, err := c.List(t.Context(), ListOptions{All: true}); err != nil || len(l) != 3 {
		t.Error(l, err)
	}
	if _, err := c.Inspect(t.Context(), "mid", false); err != nil {
		t.Error(err)
	}
}

// brokenLayers cannot remove a layer.
type brokenLayers struct{ Layers }

func (brokenLayers) Remove(string) error { return errors.New("device or resource busy") }

// TestRemovalThatFails answers who waits for it, as docker's does: a client of run --rm would
// wait for ever. What is left can be removed again, and nothing else.
func TestRemovalThatFails(t *testing.T) {
	c, rec := saved(t, true)
	c.log, c.o.Layers, c.o.Events = discard(), brokenLayers{}, NewBus()
	k := newContainer(rec)
	c.index.add(k)
	removed, next := waiting(t, c, "abc", "removed"), waiting(t, c, "abc", "next-exit")
	if err := c.Remove(t.Context(), "abc", RemoveOptions{}); err == nil {
		t.Fatal("removed without its layer")
	}
	for _, ch := range []<-chan apicontainer.WaitResponse{removed, next} {
		select {
		case r := <-ch:
			if r.StatusCode != 4 || r.Error == nil || r.Error.Message != "device or resource busy" {
				t.Errorf("%+v", r)
			}
		default:
			t.Error("the waiter has no answer")
		}
	}
	if err := c.Start(t.Context(), "abc"); !fault.Is(err, fault.Conflict) {
		t.Errorf("start of a dead container: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
