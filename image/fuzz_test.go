package image

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// FuzzLoad reads any bytes as an image archive: it answers, and the store stays usable.
func FuzzLoad(f *testing.F) {
	rootful.Need(f)
	layer := archive(f, file("a", "b"))
	f.Add(dockerArchive(f, []string{"a:1"}, layer))
	f.Add(layoutArchive(f, "b:1", layer, amd64, arm64))
	f.Add(gzipped(f, dockerArchive(f, nil, layer)))
	f.Add(archive(f, file("manifest.json", `[{"Config":"manifest.json","Layers":["manifest.json"]}]`)))
	f.Add(archive(f, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", `{"manifests":[{"digest":"sha256:x","size":-1}]}`)))
	s := open(f, Options{MaxUnpacked: 1 << 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		loaded, err := s.Load(context.Background(), bytes.NewReader(b))
		if err == nil && len(loaded) == 0 {
			t.Error("neither images nor an error")
		}
	})
}

func FuzzChanges(f *testing.F) {
	for _, tc := range changeTable {
		f.Add(strings.Join(tc.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		Changes(strings.Split(s, "\n"))
	})
}
