package filters

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseTime reads a moment as docker's filters have it: how long before now ("10m",
// "1h30m"), a date with or without time and zone (RFC 3339, "2026-01-02",
// "2026-01-02T15:04"; without a zone it is now's), or seconds since 1970 with a
// fraction.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && s != "0" { // which is 1970, not now
		return now.Add(-d), nil
	}
	if strings.ContainsAny(s, "-:TZtz") {
		return parseDate(s, now)
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time", s)
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || nsec < 0 {
		return time.Time{}, fmt.Errorf("%q is no time", s)
	}
	return time.Unix(sec, nsec), nil
}

func parseDate(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02"} {
		if t, err := time.Parse(layout+"Z07:00", s); err == nil {
			return t, nil
		}
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", s)
}
