package server

import (
	"io"
	"net/http"
	"time"

	"github.com/moby/moby/api/types"
	apievents "github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
)

// ping tells a client which API version to speak.
func ping(r *request) response {
	h := r.w.Header()
	h.Set("Builder-Version", "2") // BuildKit: clients then do not try the classic builder
	h.Set("Swarm", "inactive")
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	return streamed(func(r *request) error {
		r.begin(http.StatusOK, "text/plain; charset=utf-8")
		if r.Method == http.MethodHead {
			return nil
		}
		_, err := io.WriteString(r.w, "OK")
		return err
	})
}

func info(r *request) response {
	i, err := r.server.System.Info(r.Context())
	if err != nil {
		return failure{err}
	}
	return result(infoFor(i, r.version), nil)
}

func engineVersion(r *request) response { return result(r.server.System.Version(r.Context())) }

func eventStream(r *request) response {
	f, err := r.filters("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
		"scope", "secret", "service", "type", "volume")
	if err != nil {
		return failure{err}
	}
	since, err := r.time("since")
	if err != nil {
		return failure{err}
	}
	if since.IsZero() && r.value("since") != "" {
		since = time.Unix(0, 0) // all there is, which "" is not
	}
	until, err := r.time("until")
	if err != nil {
		return failure{err}
	}
	if until.IsZero() && r.value("until") != "" {
		until = time.Now() // 0: nothing that is to come
	}
	if !until.IsZero() && until.Before(since) {
		return failure{fault.New(fault.Invalid, "`since` time (%s) cannot be after `until` time (%s)", r.value("since"), r.value("until"))}
	}
	return streamed(func(r *request) error {
		ctx, cancel := r.streaming()
		defer cancel()
		past, live, err := r.server.System.Events(ctx, since, until, f)
		if err != nil {
			return err
		}
		return r.sendEvents(past, live, until, ctx.Done())
	})
}

// sendEvents sends the head at once: who sees it misses nothing from then on.
func (r *request) sendEvents(past []apievents.Message, live <-chan apievents.Message, until time.Time, gone <-chan struct{}) error {
	fallback := types.MediaTypeJSONLines
	if r.version < 52 {
		fallback = types.MediaTypeJSON
	}
	out := r.jsonStream(r.jsonType(fallback))
	for _, e := range past {
		if err := out.write(eventFor(e, r.version)); err != nil {
			return nil
		}
	}
	if err := r.flush(); err != nil || live == nil {
		return nil
	}
	var end <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		end = timer.C
	}
	for {
		select {
		case e, more := <-live:
			if !more || out.write(eventFor(e, r.version)) != nil {
				return nil
			}
			// Those of a start come in a burst, and go out together.
			if len(live) == 0 && r.flush() != nil {
				return nil
			}
		case <-end:
			return nil
		case <-gone:
			r.cut()
		}
	}
}

// legacyEvent has the fields from before types and actors, which versions up to
// 1.51 still show.
type legacyEvent struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	apievents.Message
}

func eventFor(e apievents.Message, v version) any {
	if v >= 52 || e.Type != apievents.ContainerEventType && e.Type != apievents.ImageEventType {
		return e
	}
	l := legacyEvent{Status: string(e.Action), ID: e.Actor.ID, Message: e}
	if e.Type == apievents.ContainerEventType {
		l.From = e.Actor.Attributes["image"]
	}
	return l
}
