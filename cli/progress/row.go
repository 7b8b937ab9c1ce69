package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// row is one layer, or the title of an image.
type row struct {
	id, status string
	layer      bool // it is one: the engine says how far it is, or will
	now        *jsonstream.Progress
	meter      meter

	moved, size int64 // over the wire, of that which is known
	up          bool  // towards the registry
}

// final are the statuses after which nothing happens to a layer.
func final(status string) bool {
	switch status {
	case "Pull complete", "Already exists", "Pushed", "Layer already exists", "Skipped foreign layer":
		return true
	}
	return strings.HasPrefix(status, "Mounted from ")
}

func (r *row) title() bool  { return !r.layer }
func (r *row) moving() bool { return r.now != nil }
func (r *row) busy() bool   { return r.layer && !final(r.status) }

// goesOn is busy, but for a state that docker's engine leaves what is not unpacked in.
func (r *row) goesOn() bool { return r.busy() && r.status != "Download complete" }

func (r *row) set(at time.Time, m jsonstream.Message) {
	if m.Status != r.status {
		r.meter = meter{}
		if r.size > r.moved { // the last of it is seldom told
			r.moved = r.size
		}
	}
	r.status, r.now = m.Status, nil
	r.layer = r.layer || m.Progress != nil
	if !measured(m.Progress) {
		return
	}
	r.now = m.Progress
	r.meter.set(at, m.Progress.Current)
	if up := m.Status == "Pushing"; up || m.Status == "Downloading" {
		r.up = up
		r.moved, r.size = m.Progress.Current, max(m.Progress.Total, m.Progress.Current)
	}
}

func (r *row) text() string { return r.id + ": " + r.status }

// line is the row in so many columns.
func (r *row) line(at time.Time, cols int) string {
	p := r.now
	if p == nil {
		return cut(r.text(), cols)
	}
	m := &measure{current: p.Current, total: p.Total, unit: p.Units, hide: p.HideCounts, rate: r.meter.rate(at)}
	return line(fmt.Sprintf("%s: %-11s", r.id, r.status), m, cols)
}
