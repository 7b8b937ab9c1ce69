package keeper

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOutputGathersForManyClients says when a stream that has something new takes it.
func TestOutputGathersForManyClients(t *testing.T) {
	const ms = time.Millisecond
	took := func(t *testing.T, clients int, tty bool, moved int, at ...time.Duration) (when []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			p := newProcess(nil, config{Terminal: tty})
			p.viewers = make([]*viewer, clients)
			streams, start := [2]*stream{{p: p, moved: moved}, {p: p, moved: moved}}, time.Now()
			for i, d := range at {
				time.Sleep(d - time.Since(start))
				streams[i%2].gather()
				when = append(when, time.Since(start))
			}
		})
		return when
	}
	for _, c := range []struct {
		name    string
		clients int
		tty     bool
		moved   int
		at      []time.Duration
		want    []time.Duration
	}{
		{"few clients", 7, false, 10, []time.Duration{0, 1 * ms, 2 * ms}, []time.Duration{0, 1 * ms, 2 * ms}},
		{"many", 8, false, 10, []time.Duration{0, 1 * ms, 22 * ms, 70 * ms, 75 * ms}, []time.Duration{0, 20 * ms, 40 * ms, 70 * ms, 90 * ms}},
		{"a terminal", 8, true, 10, []time.Duration{0, 1 * ms, 2 * ms}, []time.Duration{0, 1 * ms, 2 * ms}},
		{"much", 8, false, muchOutput, []time.Duration{0, 1 * ms, 2 * ms}, []time.Duration{0, 1 * ms, 2 * ms}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := took(t, c.clients, c.tty, c.moved, c.at...); !slices.Equal(got, c.want) {
				t.Errorf("took at %v, want %v", got, c.want)
			}
		})
	}
}

// TestGatheringEndsWithTheProcess: its last output is not held up.
func TestGatheringEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(nil, config{})
		p.viewers = make([]*viewer, manyClients)
		st, start := &stream{p: p}, time.Now()
		st.gather()
		time.AfterFunc(time.Millisecond, func() { close(p.ended) })
		if st.gather(); time.Since(start) != time.Millisecond {
			t.Errorf("took it after %v", time.Since(start))
		}
	})
}
