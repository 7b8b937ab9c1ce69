package registry

import (
	"os"
	"path/filepath"
	"testing"

	"hoy/registry/registrytest"
)

// certs makes a folder as certs.d, with a registry's authority.
func certs(t *testing.T, reg *registrytest.Registry) string {
	t.Helper()
	dir := t.TempDir()
	pem, err := os.ReadFile(reg.CA)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, reg.Host, "ca.crt"), string(pem))
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
