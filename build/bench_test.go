package build

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
)

// BenchmarkTenSteps builds five COPY of 100 kB and five RUN true, as shared/bench does.
func BenchmarkTenSteps(b *testing.B) {
	for _, mode := range []string{"nocache", "cached"} {
		b.Run(mode, func(b *testing.B) {
			h := newBench(b)
			h.busybox()
			dir := tenSteps(b)
			run := func() {
				got, err := h.buildDir(b.Context(), dir, func(o *client.SolveOpt) {
					if mode == "nocache" {
						o.FrontendAttrs = map[string]string{"no-cache": ""}
					}
				})
				if err != nil {
					b.Fatalf("%v %s", err, got.log)
				}
			}
			run() // BuildKit opens, and there is a cache
			for b.Loop() {
				run()
			}
		})
	}
}

func tenSteps(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var file strings.Builder
	file.WriteString("FROM busybox\n")
	random := rand.NewChaCha8([32]byte{1})
	for i := range 5 {
		content := make([]byte, 100_000)
		random.Read(content)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&file, "COPY f%d /f%d\nRUN true\n", i, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
