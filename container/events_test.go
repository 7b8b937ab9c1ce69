package container

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/api/types/events"

	"hoy/lib/filters"
)

func TestHistoryIsBounded(t *testing.T) {
	b := NewBus()
	start := time.Now()
	for i := range historySize + 44 {
		b.Publish(events.ContainerEventType, events.ActionStart, strconv.Itoa(i), nil)
	}
	past, live, err := b.Events(t.Context(), start, time.Now(), nil)
	if err != nil || live != nil {
		t.Fatalf("%v %v", live, err)
	}
	if len(past) != historySize || past[0].Actor.ID != "44" || past[historySize-1].Actor.ID != "299" {
		t.Errorf("%d events, %s to %s", len(past), past[0].Actor.ID, past[len(past)-1].Actor.ID)
	}
	if past, _, _ := b.Events(t.Context(), time.Time{}, time.Now(), nil); len(past) != historySize {
		t.Errorf("%d events until now", len(past))
	}
	if past, _, _ := b.Events(t.Context(), time.Time{}, time.Time{}, nil); len(past) != 0 {
		t.Errorf("%d events that nobody asked for", len(past))
	}
}

func TestSlowListenerIsDropped(t *testing.T) {
	b := NewBus()
	_, slow, _ := b.Events(t.Context(), time.Time{}, time.Time{}, nil)
	for range listenerSize + 1 {
		b.Publish(events.ContainerEventType, events.ActionStart, "c", nil) // must not block
	}
	n := 0
	for range slow { // closed, so this ends
		n++
	}
	if n != listenerSize || b.Listeners() != 0 {
		t.Errorf("%d events before the end, %d listeners after", n, b.Listeners())
	}
}

func TestListeningEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus()
		ctx, cancel := context.WithCancel(t.Context())
		_, first, _ := b.Events(ctx, time.Time{}, time.Time{}, nil)
		_, second, _ := b.Events(t.Context(), time.Time{}, time.Now().Add(time.Minute), nil)
		cancel()
		synctest.Wait()
		if _, open := <-first; open {
			t.Error("open after its context ended")
		}
		b.Publish(events.ContainerEventType, events.ActionDie, "c", nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if m, open := <-second; !open || m.Action != events.ActionDie {
			t.Errorf("%v %v", m, open)
		}
		if _, open := <-second; open {
			t.Error("open after until")
		}
	})
}

func TestEventFilters(t *testing.T) {
	m := events.Message{Type: events.ContainerEventType, Action: "exec_start: sh -c x", Scope: "local",
		Actor: events.Actor{ID: "abcdef", Attributes: map[string]string{"name": "web", "image": "repo/app:1", "l": "v"}}}
	img := events.Message{Type: events.ImageEventType, Action: events.ActionTag, Scope: "local",
		Actor: events.Actor{ID: "sha256:1", Attributes: map[string]string{"name": "repo/app:1"}}}
	for _, tc := range []struct {
		f         filters.Filters
		ctr, imgs bool
	}{
		{nil, true, true},
		{filters.Filters{"type": {"container"}}, true, false},
		{filters.Filters{"event": {"exec_start"}}, true, false},
		{filters.Filters{"event": {"start"}}, false, false},
		{filters.Filters{"event": {"exec_start", "tag"}}, true, true},
		{filters.Filters{"container": {"web"}}, true, false},
		{filters.Filters{"container": {"abc"}}, true, false},
		{filters.Filters{"container": {"other"}}, false, false},
		{filters.Filters{"image": {"repo/app"}}, true, true},
		{filters.Filters{"image": {"repo/app:2"}}, false, false},
		{filters.Filters{"label": {"l=v"}}, true, false},
		{filters.Filters{"scope": {"swarm"}}, false, false},
		{filters.Filters{"volume": {"v"}}, false, false},
	} {
		if got := eventMatches(tc.f, m); got != tc.ctr {
			t.Errorf("%v: container %v", tc.f, got)
		}
		if got := eventMatches(tc.f, img); got != tc.imgs {
			t.Errorf("%v: image %v", tc.f, got)
		}
	}
}
