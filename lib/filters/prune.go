package filters

import (
	"strings"
	"time"

	"hoy/lib/fault"
)

// Until reads the key until, of which there may be one: a moment, or a while before
// now. The zero time: it is not there.
func (f Filters) Until(now time.Time) (time.Time, error) {
	switch l := f.Get("until"); len(l) {
	case 0:
		return time.Time{}, nil
	case 1:
		t, err := ParseTime(l[0], now)
		if err != nil {
			return t, fault.New(fault.Invalid, "invalid value for 'until' filter: %w", err)
		}
		return t, nil
	}
	return time.Time{}, fault.New(fault.Invalid, "more than one until filter specified")
}

// MatchLabels reports whether labels hold every label=key[=value] of the filters and
// not all of their label!=key[=value].
func (f Filters) MatchLabels(labels map[string]string) bool {
	negated := Filters{"label!": nil}
	for _, want := range f.Get("label!") {
		negated["label!"] = append(negated["label!"], strings.TrimSpace(want))
	}
	return f.MatchKVList("label", labels) && (!f.Has("label!") || !negated.MatchKVList("label!", labels))
}
