package container

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/lib/fault"
)

// policy reads "on-failure:3".
func policy(s string) apicontainer.RestartPolicy {
	name, max, _ := strings.Cut(s, ":")
	p := apicontainer.RestartPolicy{Name: apicontainer.RestartPolicyMode(name)}
	fmt.Sscan(max, &p.MaximumRetryCount)
	return p
}

func TestNext(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		policy string
		o      outcome
		pause  time.Duration // 0: it stays down
	}{
		{"", outcome{code: 1}, 0},
		{"no", outcome{code: 1}, 0},
		{"always", outcome{}, 100 * ms},
		{"always", outcome{code: 1, pause: 100 * ms}, 200 * ms},
		{"always", outcome{pause: 51200 * ms}, time.Minute},
		{"always", outcome{pause: time.Minute}, time.Minute},
		{"always", outcome{pause: time.Minute, ran: 9999 * ms}, time.Minute},
		{"always", outcome{pause: time.Minute, ran: 10 * time.Second}, 100 * ms},
		{"always", outcome{stopped: true}, 100 * ms}, // a signal it went on after
		{"always", outcome{halted: true}, 0},
		{"unless-stopped", outcome{}, 100 * ms},
		{"unless-stopped", outcome{stopped: true}, 0},
		{"unless-stopped", outcome{halted: true}, 0},
		{"on-failure", outcome{}, 0},
		{"on-failure", outcome{code: 1, restarts: 1000}, 100 * ms},
		{"on-failure", outcome{code: 1, halted: true}, 0},
		{"on-failure:3", outcome{code: 1, restarts: 2}, 100 * ms},
		{"on-failure:3", outcome{code: 1, restarts: 3}, 0},
		{"no", outcome{unhealthy: true}, 100 * ms},
		{"no", outcome{unhealthy: true, halted: true}, 0},
		{"unless-stopped", outcome{unhealthy: true, stopped: true}, 100 * ms},
		{"on-failure:3", outcome{unhealthy: true}, 100 * ms},
		{"on-failure:3", outcome{unhealthy: true, restarts: 3}, 0},
	} {
		if pause, again := next(policy(tc.policy), tc.o); pause != tc.pause || again != (tc.pause > 0) {
			t.Errorf("%s %+v: %v %v, want %v", tc.policy, tc.o, pause, again, tc.pause)
		}
	}
}

// TestComesBack is what an engine starts when it starts.
func TestComesBack(t *testing.T) {
	for _, tc := range []struct {
		policy string
		status apicontainer.ContainerState
		code   int
		s      supervision
		want   bool
	}{
		{"no", "exited", 1, supervision{}, false},
		{"no", "restarting", 1, supervision{}, true}, // its health's restart
		{"always", "exited", 0, supervision{}, true},
		{"always", "exited", 0, supervision{Stopped: true}, true},
		{"always", "created", 0, supervision{}, false},
		{"always", "dead", 0, supervision{}, false},
		{"unless-stopped", "exited", 0, supervision{}, true},
		{"unless-stopped", "exited", 0, supervision{Stopped: true}, false},
		{"on-failure", "exited", 0, supervision{}, false},
		{"on-failure", "exited", 255, supervision{}, true},
		{"on-failure", "exited", 137, supervision{Stopped: true}, false},
		{"on-failure:2", "exited", 1, supervision{Restarts: 1}, true},
		{"on-failure:2", "exited", 1, supervision{Restarts: 2}, false},
	} {
		r := &record{Host: &apicontainer.HostConfig{RestartPolicy: policy(tc.policy)}, Supervision: tc.s,
			State: state{Status: tc.status, ExitCode: tc.code, StartedAt: time.Unix(1, 0)}}
		if got := r.comesBack(); got != tc.want {
			t.Errorf("%s %s(%d) %+v: %v", tc.policy, tc.status, tc.code, tc.s, got)
		}
	}
}

func TestEndsRun(t *testing.T) {
	for _, tc := range []struct {
		number unix.Signal
		stop   string
		want   bool
	}{
		{unix.SIGKILL, "SIGQUIT", true}, {unix.SIGTERM, "", true}, {unix.SIGHUP, "", true},
		{unix.SIGTERM, "TERM", true}, {unix.SIGTERM, "15", true}, {unix.SIGTERM, "CONT", false},
	} {
		if got := endsRun(tc.number, tc.stop); got != tc.want {
			t.Errorf("%v of one that stops by %q: %v", tc.number, tc.stop, got)
		}
	}
}

// stage is a container whose starts and exits a test makes up, under a fake clock.
type stage struct {
	*Containers
	k      *Container
	starts []time.Duration // since the beginning
	fail   error           // of the next start
	began  time.Time

	blocked atomic.Bool // it joins one that is restarting
}

func newStage(t *testing.T, policyName string) *stage {
	c, rec := saved(t, false)
	c.log, c.closing, c.o.Events = discard(), make(chan struct{}), NewBus()
	rec.Host.RestartPolicy, rec.State.Status, rec.State.StartedAt = policy(policyName), "exited", time.Now()
	c.SetDefaults(spec.Host{}, 10*time.Second)
	s := &stage{Containers: c, k: newContainer(rec), began: time.Now()}
	c.index.add(s.k)
	c.supervisor = supervisor{start: s.start, blocked: func(*Container) bool { return s.blocked.Load() }, log: c.log, tasks: &c.tasks, ready: make(chan struct{}), ended: make(chan struct{})}
	return s
}

func (s *stage) start(_ context.Context, k *Container) error {
	if s.fail != nil {
		return s.startFailed(k, s.fail)
	}
	s.starts = append(s.starts, time.Since(s.began))
	k.mu.Lock()
	defer k.mu.Unlock()
	generation := k.rec().State.Generation + 1
	k.process = &process{Process: &keeper.Process{Generation: generation, StartedAt: time.Now()}, done: make(chan struct{})}
	k.updateLocked(func(r *record) {
		r.State = state{Status: "running", Generation: generation, StartedAt: time.Now()}
	})
	return nil
}

// exit ends the process as containerExited does.
func (s *stage) exit(code int) {
	s.k.op.lock(context.Background())
	defer s.k.op.unlock()
	p := s.k.process
	s.markExited(s.k, p, keeper.Exit{Code: code, At: time.Now()}, false)
	close(p.done)
}

func (s *stage) status() string { return string(s.k.rec().State.Status) }

func (s *stage) expect(t *testing.T, status string, restarts int) {
	t.Helper()
	if r := s.k.rec(); s.status() != status || r.Supervision.Restarts != restarts {
		t.Errorf("%s after %d restarts, want %s after %d", s.status(), r.Supervision.Restarts, status, restarts)
	}
}

func TestRestartsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "on-failure:13")
		s.start(t.Context(), s.k)
		close(s.supervisor.ready)
		var want time.Duration
		for i := range 13 {
			pause := min(firstPause<<i, longPause)
			s.exit(1)
			s.expect(t, "restarting", i+1)
			time.Sleep(pause)
			synctest.Wait()
			s.expect(t, "running", i+1)
			if want += pause; s.starts[i+1] != want {
				t.Errorf("restart %d after %v, want %v", i+1, s.starts[i+1], want)
			}
		}
		s.exit(1)
		s.expect(t, "exited", 13)
		s.Close()
	})
}

// TestRestartIsCalledOff: stop, kill and remove during the pause work at once, and
// nothing comes after them.
func TestRestartIsCalledOff(t *testing.T) {
	for what, do := range map[string]func(s *stage) error{
		"stop":         func(s *stage) error { return s.Stop(context.Background(), "abc", "", nil) },
		"kill":         func(s *stage) error { return s.Kill(context.Background(), "abc", "") },
		"TERM":         func(s *stage) error { return s.Kill(context.Background(), "abc", "TERM") },
		"rm -f, begun": func(s *stage) error { return s.claimRemoval(context.Background(), s.k, "abc", true) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, "always")
			close(s.supervisor.ready)
			s.start(t.Context(), s.k)
			s.exit(0)
			waits := waiting(t, s.Containers, "abc", "")
			if _, ok := answered(waits); ok {
				t.Errorf("%s: a container that waits for its restart counts as ended", what)
			}
			if err := s.Start(t.Context(), "abc"); !fault.Is(err, fault.NotModified) {
				t.Errorf("%s: start: %v", what, err)
			}
			if err := s.claimRemoval(t.Context(), s.k, "abc", false); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "is restarting") {
				t.Errorf("%s: rm: %v", what, err)
			}
			if err := do(s); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if _, ok := answered(waits); !ok && what != "rm -f, begun" {
				t.Errorf("%s: the waiter has no answer", what)
			}
			time.Sleep(time.Hour)
			s.expect(t, "exited", 1)
			if len(s.starts) != 1 || !s.k.rec().Supervision.Stopped {
				t.Errorf("%s: %d starts, %+v", what, len(s.starts), s.k.rec().Supervision)
			}
			s.Close()
		})
	}
}

// TestStoppedStaysDown: what somebody ends no policy brings back; what goes on after
// a signal that is not its stop signal is restarted when it ends.
func TestStoppedStaysDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "always")
		close(s.supervisor.ready)
		s.start(t.Context(), s.k)
		s.markStopped(s.k, s.k.process, false)
		s.exit(0)
		s.expect(t, "restarting", 1)
		time.Sleep(firstPause)
		synctest.Wait()
		p, err := s.toEnd(t.Context(), s.k)
		if err != nil || p != s.k.process {
			t.Fatalf("%v, %v", p, err)
		}
		s.exit(0)
		s.expect(t, "exited", 1)
		if s.markStopped(s.k, p, true) {
			t.Error("a process that has ended can be marked")
		}
		s.Close()
	})
}

// TestRemovalThatIsCutShort: what somebody has killed to remove it stays down, also if the
// engine ends in between, or the kernel holds it for longer than anybody waits.
func TestRemovalThatIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "unless-stopped")
		close(s.supervisor.ready)
		s.start(t.Context(), s.k)
		s.mustSave(s.k)
		if err := s.Remove(t.Context(), "abc", RemoveOptions{Force: true}); err == nil {
			t.Fatal("removed, but there is no process that could have been killed")
		}
		next, err := loadRecord(s.recordPath("abc"))
		if err != nil {
			t.Fatal(err)
		}
		if next.State.Status = "exited"; next.comesBack() {
			t.Error("the next engine starts it again")
		}
		s.exit(137)
		s.expect(t, "exited", 0)
		s.Close()
	})
}

// TestRestartThatFails is not tried again, and answers who waits.
func TestRestartThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "always")
		close(s.supervisor.ready)
		s.start(t.Context(), s.k)
		s.fail = errors.New("no")
		s.exit(0)
		waits := waiting(t, s.Containers, "abc", "")
		time.Sleep(time.Hour)
		s.expect(t, "exited", 1)
		if code, ok := answered(waits); !ok || code != 128 || !strings.Contains(s.k.rec().State.Error, "no") {
			t.Errorf("%d %v, %q", code, ok, s.k.rec().State.Error)
		}
		s.Close()
	})
}

// TestRestartWaitsForWhatItJoins, in pauses that grow; each is one restart.
func TestRestartWaitsForWhatItJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "on-failure:1")
		close(s.supervisor.ready)
		s.start(t.Context(), s.k)
		s.blocked.Store(true)
		s.exit(1)
		time.Sleep(650 * time.Millisecond) // tried after 100, 300
		synctest.Wait()
		s.expect(t, "restarting", 1)
		s.blocked.Store(false)
		time.Sleep(100 * time.Millisecond) // and 700
		synctest.Wait()
		s.expect(t, "running", 1)
		s.Close()
	})
}

// TestNoRestartBeforeItsTime: none before Supervise, and none after Close; the next
// engine finds that one is due.
func TestNoRestartBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "always")
		s.start(t.Context(), s.k)
		s.exit(0)
		time.Sleep(time.Hour)
		s.expect(t, "restarting", 1)
		close(s.supervisor.ready)
		synctest.Wait()
		s.expect(t, "running", 1)
		s.exit(0)
		s.Close()
		time.Sleep(time.Hour)
		s.expect(t, "restarting", 2)
		if !s.k.rec().comesBack() {
			t.Error("the next engine leaves it down")
		}
	})
}

// TestSupervise starts what a dead engine had running, and counts anew what it was
// not about to restart.
func TestSupervise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "always")
		s.k.update(func(r *record) { r.Supervision = supervision{Restarts: 7, Stopped: true} })
		s.Supervise()
		s.expect(t, "running", 0)
		s.exit(0)
		s.Close()
		next := newStage(t, "always")
		next.k.record.Store(s.k.rec())
		next.Supervise()
		next.expect(t, "running", 1)
		next.Close()
	})
}

// TestStartedOnce: a start is under way while an engine looks for what is to be started.
func TestStartedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "always")
		s.start(t.Context(), s.k)
		s.exit(0)
		s.supervisor.start = func(ctx context.Context, k *Container) error {
			time.Sleep(time.Second)
			return s.start(ctx, k)
		}
		time.Sleep(time.Minute)
		close(s.supervisor.ready)
		synctest.Wait() // the start has begun
		s.supervisor.restart(s.k, s.k.promise())
		s.expect(t, "running", 1)
		if len(s.starts) != 2 || s.k.comeback != nil {
			t.Errorf("started %d times, one more to come: %v", len(s.starts), s.k.comeback)
		}
		s.Close()
	})
}

func TestWaves(t *testing.T) {
	all := map[string]*Container{}
	for _, id := range []string{"a", "b", "c", "x", "y"} {
		all[id] = &Container{id: id}
	}
	joins := map[string]string{"a": "b", "b": "c", "x": "y", "y": "x"}
	var due []*Container
	for _, id := range []string{"a", "b", "c", "x", "y"} {
		due = append(due, all[id])
	}
	var got []string
	for _, wave := range waves(due, func(k *Container) []*Container {
		if other := all[joins[k.id]]; other != nil {
			return []*Container{other}
		}
		return nil
	}) {
		var ids string
		for _, k := range wave {
			ids += k.id
		}
		got = append(got, ids)
	}
	if fmt.Sprint(got) != "[c b a xy]" {
		t.Errorf("%v", got)
	}
}

// TestRestartPolicyChanges while the container runs: it holds from the next exit on.
func TestRestartPolicyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "no")
		s.start(t.Context(), s.k)
		if err := s.k.setRestartPolicy(policy("on-failure:1")); err != nil {
			t.Fatal(err)
		}
		s.exit(1)
		s.expect(t, "restarting", 1)
		if err := s.k.setRestartPolicy(policy("nonsense")); !fault.Is(err, fault.Invalid) {
			t.Error(err)
		}
		s.k.update(func(r *record) { h := *r.Host; h.AutoRemove = true; r.Host = &h })
		if err := s.k.setRestartPolicy(policy("always")); !fault.Is(err, fault.Conflict) {
			t.Error(err)
		}
		s.Close()
	})
}
