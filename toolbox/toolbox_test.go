package toolbox

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"hoy/lib/fault"
	"hoy/toolbox/names"
)

func TestArchive(t *testing.T) {
	a, err := Archive([]byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Archive([]byte("program"))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same program makes different archives (%v)", err)
	}
	links := map[string]bool{}
	r := tar.NewReader(bytes.NewReader(a))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Linkname == "hoy-toolbox" {
			links[h.Name] = true
		}
		if h.Name == "tmp/" && h.Mode != 0o1777 {
			t.Errorf("mode of /tmp is %o", h.Mode)
		}
	}
	for _, n := range names.All() {
		if !links["bin/"+n] {
			t.Errorf("no /bin/%s", n)
		}
	}
}

// Install does something once for each program, and says how to get one when the
// engine was built without.
func TestInstall(t *testing.T) {
	digest, err := Digest()
	if err != nil {
		if fault.KindOf(err) != fault.NotImplemented {
			t.Fatal(err)
		}
		err := Install(t.Context(), "", func(context.Context, io.Reader, []string, time.Time) error {
			t.Error("installs what is not there")
			return nil
		})
		if fault.KindOf(err) != fault.NotImplemented {
			t.Errorf("without a program: %v", err)
		}
		return
	}
	for present, want := range map[string]int{"": 1, "older": 1, digest: 0} {
		n := 0
		err := Install(t.Context(), present, func(_ context.Context, r io.Reader, changes []string, _ time.Time) error {
			n++
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if err != nil || n != want {
			t.Errorf("present %q: %d imports, %v; want %d", present, n, err, want)
		}
	}
}
