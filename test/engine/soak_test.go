package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hoy/test/rootful"
)

// size returns n, or few when the long tests are not asked for (make soak).
func size(n, few int) int {
	if os.Getenv("HOY_SOAK") != "" {
		return n
	}
	return few
}

// pss sums the proportional set size of the engine's processes, in kB.
func (e *Engine) pss() int {
	sum := 0
	for _, p := range append(e.processes("hoyd"), e.processes("hoy-keeper")...) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		for _, l := range strings.Split(string(b), "\n") {
			if f := strings.Fields(l); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.Atoi(f[1])
				sum += n
			}
		}
	}
	return sum
}

// TestSoakMany has many containers at once: started, listed, removed.
func TestSoakMany(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	n := size(1000, 60)
	e.Hoy("run", "--rm", "busybox", "true")
	before := e.pss()
	t0 := time.Now()
	parallel(n, 8, func(i int) {
		if r := e.Try("run", "-d", "--name", fmt.Sprintf("c%d", i), "busybox", "sleep", "100000"); r.Code != 0 {
			t.Errorf("container %d: %s", i, r.Stderr)
		}
	})
	t.Logf("%d containers started in %v", n, time.Since(t0))
	if got := len(strings.Fields(e.Hoy("ps", "-q"))); got != n {
		t.Errorf("%d of %d run", got, n)
	}
	t0 = time.Now()
	e.Hoy("ps")
	t.Logf("ps with %d: %v; engine and keeper: %d kB, %d kB a container", n, time.Since(t0), e.pss(), (e.pss()-before)/n)
	t0 = time.Now()
	for ids := strings.Fields(e.Hoy("ps", "-aq")); len(ids) > 0; {
		k := min(len(ids), 100)
		e.Hoy(append([]string{"rm", "-f"}, ids[:k]...)...)
		ids = ids[k:]
	}
	t.Logf("removed in %v; engine and keeper afterwards: %d kB", time.Since(t0), e.pss())
	if got := e.Hoy("ps", "-aq"); got != "" {
		t.Errorf("left: %s", got)
	}
	e.nothingLeft()
}

// TestSoakRuns runs many short containers one after another.
func TestSoakRuns(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	n := size(1000, 100)
	descriptors := func() int { es, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.Pid())); return len(es) }
	e.Hoy("run", "--rm", "busybox", "true")
	before := descriptors()
	t0 := time.Now()
	for i := range n {
		if got := e.Hoy("run", "--rm", "busybox", "echo", strconv.Itoa(i)); got != strconv.Itoa(i) {
			t.Fatalf("run %d printed %q", i, got)
		}
	}
	t.Logf("%d runs: %.1f a second", n, float64(n)/time.Since(t0).Seconds())
	e.Eventually("the engine has no more descriptors than before", func() bool { return descriptors() <= before+8 })
	e.nothingLeft()
}

// parallel calls f(0) … f(n-1), k at a time.
func parallel(n, k int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range k {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
