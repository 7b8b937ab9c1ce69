package image

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// BenchmarkImport imports the root file system archive that HOY_BENCH_ROOTFS names,
// or one of 5,000 small files.
func BenchmarkImport(b *testing.B) {
	rootful.Need(b)
	var data []byte
	if p := os.Getenv("HOY_BENCH_ROOTFS"); p != "" {
		var err error
		if data, err = os.ReadFile(p); err != nil {
			b.Fatal(err)
		}
	} else {
		var ms []member
		for i := range 5000 {
			ms = append(ms, file(fmt.Sprintf("d%d/f%d", i/100, i), strings.Repeat("x", 8<<10)))
		}
		data = archive(b, ms...)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		b.StopTimer()
		s := open(b, Options{})
		b.StartTimer()
		if _, err := s.Import(b.Context(), bytes.NewReader(data), ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
