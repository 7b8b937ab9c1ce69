package daemon

import (
	"errors"
	"os"
	"testing"

	"hoy/lib/fault"
	"hoy/migrate"
	"hoy/volume"
)

// TestMigratedVolumesAreWhole: a volume is there when all its files are. An engine that
// was killed before has none of it, and takes it the next time.
func TestMigratedVolumesAreWhole(t *testing.T) {
	s, err := volume.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := migration{volumes: s}
	fill := func(end error) func(*os.File) error {
		return func(*os.File) error {
			if _, err := s.Get("data"); !fault.Is(err, fault.NotFound) {
				t.Errorf("it is there before its files are: %v", err)
			}
			return end
		}
	}
	broken := errors.New("broken off")
	if err := m.Volume(t.Context(), migrate.Volume{Name: "data"}, fill(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := m.Volume(t.Context(), migrate.Volume{Name: "data"}, fill(nil)); err != nil {
		t.Error(err)
	}
	if err := m.Volume(t.Context(), migrate.Volume{Name: "data"}, fill(nil)); !errors.Is(err, migrate.ErrThere()) {
		t.Error(err)
	}
}
