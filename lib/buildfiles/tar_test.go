package buildfiles

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestIsTar(t *testing.T) {
	begin := func(h tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()[:min(b.Len(), TarHead)]
	}
	for name, tc := range map[string]struct {
		head []byte
		want bool
	}{
		"plain":             {begin(tar.Header{Name: "f"}), true},
		"part of a second":  {begin(tar.Header{Name: "f", Format: tar.FormatPAX, ModTime: time.Unix(1, 5e8)}), true},
		"long name":         {begin(tar.Header{Name: strings.Repeat("n", 2000), Format: tar.FormatGNU}), true},
		"empty":             {make([]byte, TarHead), true},
		"nothing":           {nil, false},
		"short Dockerfile":  {[]byte("FROM scratch\n"), false},
		"longer Dockerfile": {[]byte(strings.Repeat("# FROM scratch\n", 40)), false},
		"long Dockerfile":   {[]byte(strings.Repeat("# FROM scratch\n", 80))[:TarHead], false},
	} {
		if got := IsTar(tc.head); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
