package engine

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// listing times lists of containers, by the command line (to its end) and by the API.
type listing struct{ command, request []time.Duration }

// listings lists for as long as more says.
func (e *Engine) listings(t *testing.T, more func(n int) bool) (l listing) {
	t.Helper()
	c := &http.Client{Transport: e.HTTP().Transport.(*http.Transport).Clone()}
	c.Transport.(*http.Transport).DisableKeepAlives = false
	defer c.CloseIdleConnections()
	for n := 0; more(n); n++ {
		t0 := time.Now()
		if r := e.Try("ps", "-q"); r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		l.command = append(l.command, time.Since(t0))
		t0 = time.Now()
		r, err := c.Get("http://hoy/containers/json")
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		l.request = append(l.request, time.Since(t0))
	}
	return l
}

func (l listing) String() string {
	of := func(d []time.Duration) string {
		slices.Sort(d)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
		return fmt.Sprintf("median %.1f ms, p99 %.1f ms", ms(d[len(d)/2]), ms(d[len(d)*99/100]))
	}
	return fmt.Sprintf("%d times: hoy ps -q: %s; GET /containers/json: %s", len(l.command), of(l.command), of(l.request))
}

// churn runs n short containers, some at a time, while lists are timed.
func (e *Engine) churn(t *testing.T, n, atATime int) (l listing) {
	t.Helper()
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		defer close(over)
		parallel(n, atATime, func(i int) {
			if r := e.Try("run", "--rm", "busybox", "echo", strconv.Itoa(i)); r.Stdout != strconv.Itoa(i)+"\n" {
				t.Errorf("run %d printed %q: %s", i, r.Stdout, r.Stderr)
			}
		})
	})
	l = e.listings(t, func(n int) bool {
		select {
		case <-over:
			return n == 0
		default:
			return true
		}
	})
	wg.Wait()
	return l
}
