package filters

import (
	"testing"
	"time"
)

func TestMatchLabels(t *testing.T) {
	have := map[string]string{"a": "1", "b": ""}
	for _, tc := range []struct {
		f    Filters
		want bool
	}{
		{nil, true},
		{Filters{"label": {"a"}}, true},
		{Filters{"label": {"a=2"}}, false},
		{Filters{"label!": {"c"}}, true},
		{Filters{"label!": {"a=2"}}, true},
		{Filters{"label!": {"a"}}, false},
		{Filters{"label": {"b"}, "label!": {"a=1"}}, false},
	} {
		if got := tc.f.MatchLabels(have); got != tc.want {
			t.Errorf("%v: %v", tc.f, got)
		}
	}
}

func TestUntil(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	if at, err := (Filters{"until": {"1h"}}).Until(now); err != nil || !at.Equal(now.Add(-time.Hour)) {
		t.Errorf("%v %v", at, err)
	}
	if at, err := Filters(nil).Until(now); err != nil || !at.IsZero() {
		t.Errorf("%v %v", at, err)
	}
	for _, bad := range [][]string{{"x"}, {"1h", "2h"}} {
		if _, err := (Filters{"until": bad}).Until(now); err == nil {
			t.Errorf("%v", bad)
		}
	}
}
