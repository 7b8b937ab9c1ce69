package container

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container/spec"
	"hoy/keeper"
	"hoy/lib/filters"
)

func TestNewCheckup(t *testing.T) {
	all := apicontainer.HealthConfig{Test: []string{"CMD", "a", "b"}, Interval: 1e9, Timeout: 2e9, StartPeriod: 3e9, StartInterval: 4e9, Retries: 5}
	for _, tc := range []struct {
		h     *apicontainer.HealthConfig
		shell []string
		want  *checkup
	}{
		{nil, nil, nil},
		{&apicontainer.HealthConfig{}, nil, nil},
		{&apicontainer.HealthConfig{Test: []string{"NONE"}}, nil, nil},
		{&apicontainer.HealthConfig{Test: []string{"CMD"}}, nil, nil},
		{&all, nil, &checkup{[]string{"a", "b"}, 1e9, 2e9, 3e9, 4e9, 5}},
		{&apicontainer.HealthConfig{Test: []string{"CMD-SHELL", "x"}}, nil, &checkup{[]string{"/bin/sh", "-c", "x"}, 30e9, 30e9, 0, 5e9, 3}},
		{&apicontainer.HealthConfig{Test: []string{"CMD-SHELL", "x"}}, []string{"ash", "-ec"}, &checkup{[]string{"ash", "-ec", "x"}, 30e9, 30e9, 0, 5e9, 3}},
	} {
		if got := newCheckup(&apicontainer.Config{Healthcheck: tc.h, Shell: tc.shell}); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%+v: %+v, want %+v", tc.h, got, tc.want)
		}
	}
}

func TestCheckupWaits(t *testing.T) {
	k := checkup{interval: 30e9, startPeriod: 12e9, startInterval: 5e9}
	for _, tc := range []struct {
		status   apicontainer.HealthStatus
		up, want time.Duration
	}{
		{"starting", 0, 5e9},
		{"starting", 10e9, 2e9}, // not beyond the start period
		{"starting", 12e9, 30e9},
		{"healthy", 1e9, 30e9},
		{"unhealthy", 1e9, 30e9},
	} {
		if got := k.wait(tc.status, tc.up); got != tc.want {
			t.Errorf("%s after %v: %v, want %v", tc.status, tc.up, got, tc.want)
		}
	}
}

// TestJudge: the exit codes of a container's probes, a second apart, and its health
// after each.
func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		codes []int
		want  string
	}{
		{[]int{0}, "healthy/0"},
		{[]int{1, 1, 1}, "starting/0 starting/0 starting/1"}, // the first two in the start period
		{[]int{1, 1, 1, -1, 0}, "starting/0 starting/0 starting/1 unhealthy/2 healthy/0"},
		{[]int{0, 1, 1, 1}, "healthy/0 healthy/1 unhealthy/2 unhealthy/3"}, // the start period ends with the first success
		{[]int{0, 1, 0, 7}, "healthy/0 healthy/1 healthy/0 healthy/1"},
	} {
		started := time.Unix(1000, 0)
		k := checkup{startPeriod: 2 * time.Second, retries: 2}
		h := newHealth(nil)
		var got []string
		for i, code := range tc.codes {
			h = k.judge(h, &apicontainer.HealthcheckResult{Start: started.Add(time.Duration(i) * time.Second), ExitCode: code}, started)
			got = append(got, fmt.Sprintf("%s/%d", h.Status, h.FailingStreak))
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%v: %s, want %s", tc.codes, g, tc.want)
		}
	}
}

// TestHealthLog holds the last five results; a new run begins with them.
func TestHealthLog(t *testing.T) {
	k, h := checkup{retries: 1}, newHealth(nil)
	for i := range 8 {
		h = k.judge(h, &apicontainer.HealthcheckResult{ExitCode: i}, time.Time{})
	}
	var codes []int
	for _, r := range newHealth(h).Log {
		codes = append(codes, r.ExitCode)
	}
	if fmt.Sprint(codes) != "[3 4 5 6 7]" {
		t.Errorf("%v", codes)
	}
}

func TestProbeOutputIsCut(t *testing.T) {
	for in, want := range map[string]int{"": 0, "ok\n": 3, strings.Repeat("x", 4096): 4096, strings.Repeat("x", 5000): 4099} {
		got := shortened([]byte(in))
		if len(got) != want || len(in) > 4096 && !strings.HasSuffix(got, "...") {
			t.Errorf("%d bytes became %d, want %d", len(in), len(got), want)
		}
	}
	if got := shortened([]byte{'a', 0xff}); got != "a\uFFFD" {
		t.Errorf("%q", got)
	}
	if got := (&checkup{timeout: 1500 * time.Millisecond}).tooSlow("x"); got != "Health check exceeded timeout (1.5s): x" {
		t.Errorf("%q", got)
	}
}

// patient is a container with a health check whose results a test makes up.
type patient struct {
	*stage
	mu     sync.Mutex
	code   int // of the next probes; -2: no result
	takes  time.Duration
	probes []time.Duration // when they began
}

func newPatient(t *testing.T, h apicontainer.HealthConfig) *patient {
	s := &patient{stage: newStage(t, "no")}
	s.k.update(func(r *record) {
		c := *r.Config
		h.Test, c.Healthcheck = []string{"CMD", "x"}, &h
		r.Config = &c
	})
	s.supervisor.probe = s.probe
	s.supervisor.judged = s.healthJudged
	close(s.supervisor.ready)
	return s
}

// run starts the container, as start does.
func (s *patient) run(t *testing.T) {
	s.start(t.Context(), s.k)
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	s.supervisor.watchHealth(s.k, s.k.process, false)
}

func (s *patient) probe(_ *Container, p *process, _ *checkup) *apicontainer.HealthcheckResult {
	s.mu.Lock()
	code, takes := s.code, s.takes
	s.probes = append(s.probes, time.Since(s.began))
	s.mu.Unlock()
	r := &apicontainer.HealthcheckResult{Start: time.Now(), ExitCode: code}
	select {
	case <-time.After(takes):
	case <-p.done:
		return nil
	}
	r.End = time.Now()
	if code == -2 {
		return nil
	}
	return r
}

func (s *patient) answers(code int, takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.takes = code, takes
}

func (s *patient) health(t *testing.T, after time.Duration, want string) {
	t.Helper()
	time.Sleep(after)
	synctest.Wait()
	r := s.k.rec()
	if got := fmt.Sprintf("%s/%d", r.healthStatus(), r.healthSummary().FailingStreak); got != want {
		t.Errorf("after %v: %s, want %s", time.Since(s.began), got, want)
	}
}

// actions are the events so far.
func (s *patient) actions(t *testing.T) string {
	t.Helper()
	past, _, err := s.o.Events.Events(t.Context(), time.Unix(1, 0), time.Now(), filters.Filters{})
	var l []string
	for _, m := range past {
		l = append(l, string(m.Action))
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(l, ", ")
}

func TestHealthOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9, StartPeriod: 6e9, StartInterval: 2e9, Retries: 2})
		s.answers(1, time.Second)
		s.run(t)
		s.health(t, 0, "starting/0")
		s.health(t, 8*time.Second, "starting/0")   // probes at 2, 5 and 16
		s.health(t, 9*time.Second+1, "starting/1") // the first that counts
		s.answers(0, time.Second)
		s.health(t, 11*time.Second, "healthy/0")
		s.answers(1, time.Second)
		s.health(t, 22*time.Second, "unhealthy/2")
		s.answers(-2, 0) // a probe that says nothing changes nothing
		s.health(t, 11*time.Second, "unhealthy/2")
		s.exit(0)
		probes := len(s.probes)
		s.health(t, time.Hour, "unhealthy/2")
		if len(s.probes) != probes {
			t.Error("what has ended is probed")
		}
		if got, want := s.actions(t), "health_status: healthy, health_status: unhealthy"; got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		s.run(t)
		s.health(t, 0, "starting/0")
		s.Close()
	})
}

// TestHealthWhilePaused: a paused container is not probed; its health stays.
func TestHealthWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9})
		s.run(t)
		s.health(t, 11*time.Second, "healthy/0")
		s.answers(1, 5*time.Second)
		s.health(t, 10*time.Second, "healthy/0") // within a probe that will fail
		s.k.setPaused(s.k.process, true)
		s.health(t, time.Second, "healthy/0")
		s.k.setPaused(s.k.process, false)
		s.health(t, 10*time.Second, "healthy/0") // it was not fair
		s.k.setPaused(s.k.process, true)
		s.health(t, 15*time.Second, "healthy/0") // nor was the second
		probes := len(s.probes)
		s.health(t, time.Hour, "healthy/0")
		if len(s.probes) != probes {
			t.Errorf("probed at %v", s.probes)
		}
		s.k.setPaused(s.k.process, false)
		s.health(t, 16*time.Second, "healthy/1")
		s.Close()
	})
}

// TestHealthEndsWithTheRun: a probe under way does not outlive its container, nor
// speak for the next run.
func TestHealthEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9, Retries: 1})
		s.answers(1, time.Hour)
		s.run(t)
		time.Sleep(11 * time.Second)
		s.exit(0)
		s.answers(0, 0)
		s.run(t)
		s.health(t, time.Second, "starting/0")
		s.health(t, 10*time.Second, "healthy/0")
		s.Close()
	})
}

// TestHealthWithNextEngine is unknown at first, and soon found out.
func TestHealthWithNextEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9})
		s.run(t)
		s.health(t, 11*time.Second, "healthy/0")
		s.Close()
		rec, err := loadRecord(s.recordPath("abc"))
		if err != nil {
			t.Fatal(err)
		}
		next := newPatient(t, apicontainer.HealthConfig{Interval: 10e9})
		next.k.record.Store(rec)
		next.k.process = &process{Process: &keeper.Process{StartedAt: rec.State.StartedAt}, done: make(chan struct{})}
		next.answers(1, 0)
		next.resumeHealth(next.k)
		next.health(t, 0, "starting/0")
		next.health(t, 6*time.Second, "starting/1")
		next.health(t, 10*time.Second, "starting/2")
		next.Close()
	})
}

func TestOnUnhealthy(t *testing.T) {
	for _, tc := range []struct {
		action  string
		status  string
		stopped bool
	}{
		{"", "exited", false}, {"none", "exited", false}, {"restart", "restarting", false}, {"stop", "exited", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9, Retries: 1})
			if err := s.k.setOnUnhealthy(first(tc.action, "none")); err != nil {
				t.Fatal(err)
			}
			s.answers(1, 0)
			s.run(t)
			s.health(t, 11*time.Second, "unhealthy/1")
			s.exit(143)
			if got := s.k.rec(); string(got.State.Status) != tc.status || got.Supervision.Stopped != tc.stopped {
				t.Errorf("%q: %s, %+v", tc.action, got.State.Status, got.Supervision)
			}
			s.Close()
		})
	}
	config := &apicontainer.Config{Labels: map[string]string{spec.OnUnhealthyLabel: "restart"}}
	if warning, err := spec.OnUnhealthy(config, &apicontainer.HostConfig{}); warning == "" || err != nil {
		t.Errorf("without a health check: %q, %v", warning, err)
	}
	if _, err := spec.OnUnhealthy(config, &apicontainer.HostConfig{AutoRemove: true}); err == nil {
		t.Error("restart together with --rm is accepted")
	}
	config.Labels[spec.OnUnhealthyLabel] = "x"
	if _, err := spec.OnUnhealthy(config, &apicontainer.HostConfig{}); err == nil {
		t.Error("nonsense is accepted")
	}
}

// TestAThousandChecks cost timers, not goroutines: between probes there is none. The
// log says what a check costs in memory.
func TestAThousandChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		s := newPatient(t, apicontainer.HealthConfig{Interval: 10e9})
		s.run(t)
		all := make([]*Container, n)
		for i := range all {
			all[i] = newContainer(s.k.rec())
			all[i].process = &process{Process: s.k.process.Process, done: make(chan struct{})}
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		for _, k := range all {
			k.mu.Lock()
			s.supervisor.watchHealth(k, k.process, false)
			k.mu.Unlock()
		}
		t.Logf("%d bytes for each health check that waits", (heap()-before)/n)
		for range 3 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			// A few may just be ending, or be the runtime's own.
			if got := runtime.NumGoroutine(); got > goroutines+n/100 {
				t.Errorf("%d goroutines between the probes, %d before", got, goroutines)
			}
		}
		for _, k := range all {
			if h := k.rec().Supervision.Health; h.Status != apicontainer.Healthy || len(h.Log) != 3 {
				t.Fatalf("%+v", h)
			}
		}
		s.Close()
	})
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
