package cli

import "testing"

// TestRegistryMissing says where the registry comes from. What it does is package
// serve's to test; test/script starts it.
func TestRegistryMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := newFake(t)
	code, _, errs := f.hoy("", "registry", "--read-only")
	if code != 1 || errs != "hoy: hoy-registry is neither beside hoy nor on the PATH: it comes with hoy's packages and from 'make build'\n" {
		t.Errorf("code %d, stderr %q", code, errs)
	}
}
