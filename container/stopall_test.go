package container

import (
	"testing"
	"time"
)

// TestStopBound: an engine that ends waits as long as its shutdown timeout says, and longer
// for containers that were given longer.
func TestStopBound(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		least    time.Duration
		timeouts []time.Duration
		want     time.Duration
	}{
		{15 * s, nil, 15 * s},
		{15 * s, []time.Duration{1 * s, 10 * s}, 15 * s},
		{15 * s, []time.Duration{60 * s, 1 * s}, 65 * s},
		{0, []time.Duration{0}, 5 * s},
		{15 * s, []time.Duration{1 * s, -1 * s}, -1},
		{-1 * s, nil, -1 * s},
		{-1 * s, []time.Duration{1 * s}, -1},
	} {
		if got := stopBound(c.least, c.timeouts); got != c.want {
			t.Errorf("%v, containers %v: %v, want %v", c.least, c.timeouts, got, c.want)
		}
	}
}
