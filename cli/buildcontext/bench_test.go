package buildcontext

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"hoy/lib/buildfiles"
)

// BenchmarkList tells of 3,000 files.
func BenchmarkList(b *testing.B) {
	root := b.TempDir()
	for i := range 3000 {
		dir := filepath.Join(root, fmt.Sprint(i%50))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, 4096), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "Dockerfile"), []byte("FROM scratch"), 0o644); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c, err := Open(Source{Context: root})
		if err != nil {
			b.Fatal(err)
		}
		s := buildfiles.NewSender()
		s.End()
		if err := s.Send(io.Discard, c.Files); err != nil {
			b.Fatal(err)
		}
	}
}
