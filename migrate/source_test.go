package migrate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/api/types/network"
)

// TestPortsWithoutPlace: a port that is published without a place stays published.
func TestPortsWithoutPlace(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "containers", "c0ffee")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config.v2.json":  `{"ID":"c0ffee","Name":"/web","Config":{"Image":"busybox"}}`,
		"hostconfig.json": `{"PortBindings":{"80/tcp":[],"81/tcp":null,"82/tcp":[{"HostPort":"8082"}]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Source{root: root}
	cs, err := s.containers()
	if err != nil || len(cs) != 1 {
		t.Fatal(cs, err)
	}
	for port, want := range map[string]string{"80/tcp": "", "81/tcp": "", "82/tcp": "8082"} {
		if at := cs[0].Host.PortBindings[network.MustParsePort(port)]; len(at) != 1 || at[0].HostPort != want {
			t.Errorf("%s: %+v", port, at)
		}
	}
}
