package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// journey pushes an image and pulls it again, as the engine does, and says what went wrong.
func journey(t *testing.T, r *Repository, blobs [][]byte) error {
	for _, b := range blobs {
		d := describe(ocispec.MediaTypeImageLayer, b)
		if has, err := r.Exists(t.Context(), d); err != nil {
			return err
		} else if !has {
			if err := send(t.Context(), r, b); err != nil {
				return err
			}
		}
	}
	raw := manifestOf(blobs...)
	if err := r.PutManifest(t.Context(), describe(ocispec.MediaTypeImageManifest, raw), raw, "v1"); err != nil {
		return err
	}
	d, err := r.Resolve(t.Context(), "v1")
	if err != nil {
		return err
	}
	for _, want := range append(slices.Clone(blobs), raw) {
		l := describe(ocispec.MediaTypeImageLayer, want)
		if bytes.Equal(want, raw) {
			l = d
		}
		got, err := fetch(r, l, 0, -1)
		if err != nil {
			return err
		}
		if digest.FromBytes(got) != l.Digest { // what the store does
			return fault.New(fault.Unavailable, "wrong content")
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("another image")
		}
	}
	return nil
}

// At every request of a push and a pull in turn, those for tokens among them, everything
// that may go wrong does: what is pulled is the right image, or there is an error that says
// who or what is to blame; what goes wrong once and is gone the next time does no harm.
func TestFaults(t *testing.T) {
	blobs := [][]byte{[]byte("{}"), random(5000), random(64<<10 + 5)}
	a := Auth{Username: "writer", Password: "secret"}
	try := func(f *registrytest.Broken) error {
		guard := &tokenServer{}
		reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler { return f.Wrap(guard.wrap(next)) }})
		defer reg.Close()
		r := open(t, reg, quick(), "x", a)
		r.c.small = 64 << 10
		return journey(t, r, blobs)
	}
	sound := &registrytest.Broken{}
	if err := try(sound); err != nil {
		t.Fatal(err)
	}
	requests := sound.Count.Load()
	faults := registrytest.Faults()
	t.Logf("%d requests, %d faults", requests, len(faults))
	for _, f := range faults {
		for at := range requests {
			for _, all := range []bool{false, true} {
				if all && at%3 != 0 { // as much is to be seen at every third
					continue
				}
				broken := &registrytest.Broken{Fault: &f, At: at, All: all}
				err := try(broken)
				switch {
				case err == nil:
				case f.Heals && !all:
					t.Errorf("%s once, at request %d: %v", f.Name, at, err)
				case fault.KindOf(err) == fault.Internal:
					t.Errorf("%s at request %d, for ever %v: an error without kind: %v", f.Name, at, all, err)
				}
				if broken.Count.Load() > requests*8 {
					t.Errorf("%s at request %d, for ever %v: %d requests", f.Name, at, all, broken.Count.Load())
				}
			}
		}
	}
}
