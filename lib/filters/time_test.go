package filters

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for s, want := range map[string]string{
		"10m": "2026-03-01T10:50:00Z", "1h30m": "2026-03-01T09:30:00Z", "0": "1970-01-01T00:00:00Z", "0s": "2026-03-01T11:00:00Z",
		"2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+02:00": "2026-01-02T01:04:05.5Z",
		"2026-01-02T03:04:05": "2026-01-02T02:04:05Z", "2026-01-02T03:04": "2026-01-02T02:04:00Z", "2026-01-02": "2026-01-01T23:00:00Z",
		"2026-01-02Z": "2026-01-02T00:00:00Z", "1136073845": "2006-01-01T00:04:05Z", "1136073845.25": "2006-01-01T00:04:05.25Z",
		"": "", "soon": "", "2026": "1970-01-01T00:33:46Z", "2026-13-01": "", "1.-5": "", "10m ago": "",
	} {
		got, err := ParseTime(s, now)
		text := got.UTC().Format(time.RFC3339Nano)
		if err != nil {
			text = ""
		}
		if text != want {
			t.Errorf("%q: %s (%v), want %s", s, text, err, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("1h")
	f.Add("2026-01-02T03:04:05Z")
	f.Add("1136073845.000000001")
	f.Fuzz(func(t *testing.T, s string) { ParseTime(s, time.Now()) })
}
