package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// listing times lists of containers, by the command line (to its end) and by the API, and
// the processors' time that engine and keeper used meanwhile.
type listing struct {
	command, request     []time.Duration
	took, engine, keeper time.Duration
}

// listings lists for as long as more says.
func (e *Engine) listings(t *testing.T, more func(n int) bool) (l listing) {
	t.Helper()
	c := &http.Client{Transport: e.HTTP().Transport.(*http.Transport).Clone()}
	c.Transport.(*http.Transport).DisableKeepAlives = false
	defer c.CloseIdleConnections()
	begin, engine, keeper := time.Now(), e.worked(e.Pid()), e.worked(e.KeeperPid())
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
	l.took, l.engine, l.keeper = time.Since(begin), e.worked(e.Pid())-engine, e.worked(e.KeeperPid())-keeper
	return l
}

// worked is the processors' time that a process has used.
func (e *Engine) worked(pid int) time.Duration {
	e.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		e.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		e.t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (l listing) String() string {
	of := func(d []time.Duration) string {
		slices.Sort(d)
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
		return fmt.Sprintf("quickest tenth %.1f ms, median %.1f ms, p99 %.1f ms", ms(d[len(d)/10]), ms(d[len(d)/2]), ms(d[len(d)*99/100]))
	}
	share := func(d time.Duration) int { return int(100 * d / l.took) }
	return fmt.Sprintf("%d times: hoy ps -q: %s; GET /containers/json: %s; hoyd %d %%, keeper %d %% of a processor",
		len(l.command), of(l.command), of(l.request), share(l.engine), share(l.keeper))
}

// churn runs n short containers, some at a time, while lists are timed: one after the
// other as quickly as it goes, or one every so often.
func (e *Engine) churn(t *testing.T, n, atATime int, every time.Duration) (l listing) {
	t.Helper()
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		defer close(over)
		begin := time.Now()
		parallel(n, atATime, func(i int) {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * every)))
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
