package container

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
)

// TestSamplesAreShared has fifty streams, begun at any time, read a container as often as
// one does, and each get samples that differ.
func TestSamplesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		reads := 0 // under the meter's lock
		read := func() (*apicontainer.StatsResponse, error) {
			reads++
			return &apicontainer.StatsResponse{Read: time.Now()}, nil
		}
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 50 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				var last time.Time
				for time.Since(start) < 10*time.Second {
					s, err := m.take(read)
					if since := s.Read.Sub(last); err != nil || !last.IsZero() && (since < 400*time.Millisecond || since > 1600*time.Millisecond) {
						t.Errorf("stream %d: %v after the last one: %v", i, since, err)
					}
					last = s.Read
					time.Sleep(untilSample(time.Now()))
				}
			})
		}
		wg.Wait()
		if reads > 10+10 { // one a second, and one each tenth in which streams began
			t.Errorf("%d readings in ten seconds", reads)
		}
		if _, err := m.take(func() (*apicontainer.StatsResponse, error) { return nil, errors.New("gone") }); err == nil {
			t.Error("an old sample hides an error")
		}
	})
}

func TestUntilSample(t *testing.T) {
	second := time.Unix(1000, 0)
	for at, want := range map[time.Duration]time.Duration{
		0: time.Second, 300 * time.Millisecond: 700 * time.Millisecond, 499 * time.Millisecond: 501 * time.Millisecond,
		500 * time.Millisecond: 1500 * time.Millisecond, 990 * time.Millisecond: 1010 * time.Millisecond,
	} {
		if got := untilSample(second.Add(at)); got != want {
			t.Errorf("%v after a second: in %v, want %v", at, got, want)
		}
	}
}
