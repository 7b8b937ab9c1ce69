package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestDockersFile reads what docker 28 writes.
func TestDockersFile(t *testing.T) {
	s := Store{t.TempDir()}
	dir := filepath.Join(s.Dir, "127.0.0.1-5000_list-latest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"Ref":"127.0.0.1:5000/x:1","Descriptor":{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"platform":{"architecture":"amd64","os":"linux"}},"Raw":"e30=","SchemaV2Manifest":{}}`
	if err := os.WriteFile(filepath.Join(dir, "127.0.0.1-5000_x-1"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := s.Get("127.0.0.1:5000/list:latest", "127.0.0.1:5000/x:1")
	if err != nil || string(e.Raw) != "{}" || e.Descriptor.Platform.Architecture != "amd64" {
		t.Fatal(e, err)
	}
	l, err := s.List("127.0.0.1:5000/list:latest")
	if err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	if mediaType, raw := Index(l); mediaType != DockerList || !strings.Contains(string(raw), `"size": 2`) {
		t.Errorf("%s\n%s", mediaType, raw)
	}
	if err := s.Put("127.0.0.1:5000/list:latest", e.Ref, e); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "127.0.0.1-5000_x-1")); err != nil || string(b) != text {
		t.Errorf("written as\n%s\n%v", b, err)
	}
}

func TestBadFiles(t *testing.T) {
	s := Store{t.TempDir()}
	e, err := NewEntry("x", ocispec.Descriptor{MediaType: DockerManifest, Size: 2}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put("list", "x", e); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"Ref":"x"}`, `{"Raw":"e30=","Descriptor":{"size":3}}`} {
		if err := os.WriteFile(filepath.Join(s.Dir, "list", "x"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get("list", "x"); err == nil || !strings.Contains(err.Error(), "hoy manifest rm") {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := s.List("list"); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if err := s.Remove("list"); err != nil || s.Has("list") {
		t.Error(err)
	}
	for _, name := range []string{"..", ""} {
		if err := s.Remove(name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
	if _, err := os.Stat(s.Dir); err != nil {
		t.Error(err)
	}
}

func TestKnown(t *testing.T) {
	if !Known("linux", "riscv64") || Known("linux", "") || Known("", "amd64") || Known("linux", "amd") {
		t.Error("linux/riscv64 is a platform, the others are not")
	}
}
