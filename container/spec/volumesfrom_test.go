package spec

import (
	"strings"
	"testing"
)

// TestParseVolumesFrom: what is shared is the owner's to say, whether it is written to
// the taker's.
func TestParseVolumesFrom(t *testing.T) {
	for text, want := range map[string]VolumesFrom{
		"db": {"db", "rw", false}, "db:ro": {"db", "ro", true}, "db:rw": {"db", "rw", false}, "db:z": {"db", "z", false},
		"db:ro,Z": {"db", "ro,Z", true}, "db:": {"db", "rw", false},
	} {
		if got, err := ParseVolumesFrom(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "volumes-from specification cannot be an empty string", "db:rslave": "invalid mode: rslave",
		"db:nocopy": "invalid mode: nocopy", "db:ro,rw": "invalid mode: ro,rw", "db:x": "invalid mode: x",
	} {
		if _, err := ParseVolumesFrom(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParseVolumesFrom(f *testing.F) {
	for _, s := range []string{"db", "db:ro", "a:b:c", ":", "db:ro,Z", "\x00:rw"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVolumesFrom(text)
		if err == nil && (!strings.HasPrefix(text, v.Container) || !validMode(v.Mode)) {
			t.Errorf("%q: %+v", text, v)
		}
	})
}
