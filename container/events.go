package container

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"

	"hoy/lib/filters"
)

// Bus hands events to whoever listens and keeps the last ones. Publish never waits:
// a listener that does not read is dropped, and sees its channel closed.
type Bus struct {
	mu        sync.Mutex
	past      [historySize]events.Message // ring
	published int                         // ever
	listeners map[chan events.Message]filters.Filters
}

const (
	historySize  = 256  // as dockerd keeps
	listenerSize = 1024 // events a listener may be behind
)

// NewBus returns an empty bus.
func NewBus() *Bus { return &Bus{listeners: map[chan events.Message]filters.Filters{}} }

// Publish sends an event that happens now.
func (b *Bus) Publish(t events.Type, a events.Action, id string, attributes map[string]string) {
	now := time.Now()
	m := events.Message{Type: t, Action: a, Actor: events.Actor{ID: id, Attributes: attributes},
		Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano()}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past[b.published%historySize] = m
	b.published++
	for l, f := range b.listeners {
		if !eventMatches(f, m) {
			continue
		}
		select {
		case l <- m:
		default:
			delete(b.listeners, l)
			close(l)
		}
	}
}

// Published returns how many events there were.
func (b *Bus) Published() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published
}

// Listeners returns how many subscriptions there are.
func (b *Bus) Listeners() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.listeners)
}

// Events returns what is remembered between since and until, and a channel of what
// comes until then or until ctx ends; it is nil when until has passed. Both
// zero ask for nothing of the past, a zero until for everything to come. A channel that
// closes before its time belongs to a listener that was too slow.
func (b *Bus) Events(ctx context.Context, since, until time.Time, f filters.Filters) ([]events.Message, <-chan events.Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var past []events.Message
	if !since.IsZero() || !until.IsZero() {
		for i := max(0, b.published-historySize); i < b.published; i++ {
			m := b.past[i%historySize]
			at := time.Unix(0, m.TimeNano)
			if !at.Before(since) && (until.IsZero() || !at.After(until)) && eventMatches(f, m) {
				past = append(past, m)
			}
		}
	}
	if !until.IsZero() && !until.After(time.Now()) {
		return past, nil, nil
	}
	live := make(chan events.Message, listenerSize)
	b.listeners[live] = f
	stop := func() { b.forget(live) }
	if until.IsZero() {
		context.AfterFunc(ctx, stop)
	} else {
		t := time.AfterFunc(time.Until(until), stop)
		context.AfterFunc(ctx, func() { t.Stop(); stop() })
	}
	return past, live, nil
}

func (b *Bus) forget(l chan events.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.listeners[l]; ok {
		delete(b.listeners, l)
		close(l)
	}
}

// eventFilters are the keys docker knows.
var eventFilters = []string{"config", "container", "daemon", "event", "image", "label", "network",
	"node", "plugin", "scope", "secret", "service", "type", "volume"}

// EventFilters checks the keys of f.
func EventFilters(f filters.Filters) error { return f.Validate(eventFilters...) }

func eventMatches(f filters.Filters, m events.Message) bool {
	if len(f) == 0 {
		return true
	}
	return matchesAction(f, string(m.Action)) &&
		f.ExactMatch("type", string(m.Type)) &&
		f.ExactMatch("scope", m.Scope) &&
		f.MatchKVList("label", m.Actor.Attributes) &&
		matchesActor(f, m)
}

// matchesAction lets "exec_start" stand for "exec_start: sh -c …".
func matchesAction(f filters.Filters, action string) bool {
	verb, _, _ := strings.Cut(action, ":")
	return f.ExactMatch("event", action) || f.ExactMatch("event", verb)
}

// matchesActor checks the keys that name an object of a type: by id or name, and an
// image also without its tag, and as the image of a container.
func matchesActor(f filters.Filters, m events.Message) bool {
	for _, t := range []events.Type{events.ContainerEventType, events.VolumeEventType, events.NetworkEventType, events.DaemonEventType,
		events.PluginEventType, events.ServiceEventType, events.NodeEventType, events.SecretEventType, events.ConfigEventType} {
		want := f.Get(string(t))
		if len(want) == 0 {
			continue
		}
		if m.Type != t || !slices.ContainsFunc(want, func(w string) bool {
			return w != "" && (strings.HasPrefix(m.Actor.ID, w) || w == m.Actor.Attributes["name"])
		}) {
			return false
		}
	}
	want := f.Get("image")
	if len(want) == 0 {
		return true
	}
	name := m.Actor.Attributes["name"]
	if m.Type != events.ImageEventType {
		name = m.Actor.Attributes["image"]
	}
	for _, n := range []string{m.Actor.ID, name, withoutTag(name)} {
		if slices.Contains(want, n) {
			return true
		}
	}
	return false
}

func withoutTag(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}
