package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWriteTo(t *testing.T) {
	var s Set
	c := s.Counter("events_total", "The number of \\events\nlogged")
	s.CounterFunc("seconds_total", "Elsewhere", func() float64 { return 1.5 })
	s.Gauge("memory_bytes", "Much", func() float64 { return 8589934592 })
	s.Gauges("states", "By state", func(tell func(float64, ...Label)) {
		tell(2, Label{"state", "running"})
		tell(0, Label{"state", `a "b" \c`}, Label{"x", "y"})
	})
	timer := s.Timer("actions_seconds", "Durations", "action", "start")
	c.Add(3)
	timer.Observe("delete", 20*time.Millisecond)
	timer.Observe("delete", 5*time.Millisecond) // a bound belongs to what is below it
	timer.Observe("delete", time.Minute)
	var b strings.Builder
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	start := strings.Builder{}
	for _, le := range []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"} {
		start.WriteString(`actions_seconds_bucket{action="start",le="` + le + "\"} 0\n")
	}
	want := `# HELP events_total The number of \\events\nlogged
# TYPE events_total counter
events_total 3
# HELP seconds_total Elsewhere
# TYPE seconds_total counter
seconds_total 1.5
# HELP memory_bytes Much
# TYPE memory_bytes gauge
memory_bytes 8.589934592e+09
# HELP states By state
# TYPE states gauge
states{state="running"} 2
states{state="a \"b\" \\c",x="y"} 0
# HELP actions_seconds Durations
# TYPE actions_seconds histogram
` + start.String() + `actions_seconds_sum{action="start"} 0
actions_seconds_count{action="start"} 0
actions_seconds_bucket{action="delete",le="0.005"} 1
actions_seconds_bucket{action="delete",le="0.01"} 1
actions_seconds_bucket{action="delete",le="0.025"} 2
actions_seconds_bucket{action="delete",le="0.05"} 2
actions_seconds_bucket{action="delete",le="0.1"} 2
actions_seconds_bucket{action="delete",le="0.25"} 2
actions_seconds_bucket{action="delete",le="0.5"} 2
actions_seconds_bucket{action="delete",le="1"} 2
actions_seconds_bucket{action="delete",le="2.5"} 2
actions_seconds_bucket{action="delete",le="5"} 2
actions_seconds_bucket{action="delete",le="10"} 2
actions_seconds_bucket{action="delete",le="+Inf"} 3
actions_seconds_sum{action="delete"} 60.025
actions_seconds_count{action="delete"} 3
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestWriteToFails(t *testing.T) {
	var s Set
	s.Counter("a", "b")
	s.Counter("c", "d")
	if n, err := s.WriteTo(broken{}); err == nil || n != 0 {
		t.Error(n, err)
	}
}

// TestTime: what is timed is counted once.
func TestTime(t *testing.T) {
	var s Set
	timer := s.Timer("t", "h", "l")
	timer.Time("x")()
	var b strings.Builder
	s.WriteTo(&b)
	if !strings.Contains(b.String(), `t_count{l="x"} 1`) {
		t.Error(b.String())
	}
}
