package spawn

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A watchdog kills a child that has not exec'ed by its deadline. Its parent's thread
// is suspended meanwhile, so another one has to.
type watchdog struct {
	timer *time.Timer
	over  chan struct{} // closed by stop
	done  chan struct{} // closed when the watchdog has ended
	fired atomic.Bool
}

// retry is how often a child is killed again that did not exist yet when its
// deadline passed.
const retry = 10 * time.Millisecond

// grace is how long a killed child may take to die before it is left alone.
const grace = time.Second

// watch starts a watchdog, nil for no deadline.
func (p *Program) watch(deadline time.Duration) *watchdog {
	if deadline <= 0 {
		return nil
	}
	w := &watchdog{over: make(chan struct{}), done: make(chan struct{})}
	w.timer = time.AfterFunc(deadline, func() {
		defer close(w.done)
		w.kill(p)
	})
	return w
}

// kill kills the first child: where there is an inner one too, its end lets the
// suspended thread go, which kills the inner one. By its pid: nobody can have
// reaped it, and the pidfd may be in another table than this thread's.
func (w *watchdog) kill(p *Program) {
	var since time.Time
	for again := retry; ; again = min(2*again, grace) {
		if pid := int(p.ctlWord(ctlTid).Load()); pid != 0 {
			w.fired.Store(true)
			unix.Kill(pid, unix.SIGKILL)
			if since.IsZero() {
				since = time.Now()
				if p.OnTimeout != nil {
					p.OnTimeout()
				}
			}
			if time.Since(since) > grace {
				select {
				case p.lost <- p.abandoned():
				default:
				}
			}
		}
		select {
		case <-w.over:
			return
		case <-time.After(again):
		}
	}
}

// stop ends the watchdog and tells whether it has killed the child.
func (w *watchdog) stop() bool {
	if w == nil || w.timer.Stop() {
		return false
	}
	close(w.over)
	<-w.done
	return w.fired.Load()
}

// parsePid finds "Pid:" in a pidfd's fdinfo; 0 if there is none.
func parsePid(fdinfo []byte) int {
	for l := range strings.Lines(string(fdinfo)) {
		if v, ok := strings.CutPrefix(l, "Pid:"); ok {
			pid, _ := strconv.Atoi(strings.TrimSpace(v))
			return max(pid, 0)
		}
	}
	return 0
}
