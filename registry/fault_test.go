package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// faulty does something wrong with one request, or from that one on with all.
type faulty struct {
	at    int64 // the first
	all   bool  // and those after
	what  func(w http.ResponseWriter, q *http.Request, next http.Handler)
	count atomic.Int64
}

func (f *faulty) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if n := f.count.Add(1) - 1; n == f.at || f.all && n > f.at {
			f.what(w, q, next)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// faults are what may happen on the way to a registry. Those that heal do when the request
// is sent again.
var faults = []struct {
	name  string
	heals bool
	what  func(w http.ResponseWriter, q *http.Request, next http.Handler)
}{
	{"dropped before", true, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
	{"dropped after", true, func(_ http.ResponseWriter, q *http.Request, next http.Handler) {
		next.ServeHTTP(discarding{}, q)
		panic(http.ErrAbortHandler)
	}},
	{"request cut off", true, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		q.Body = &short{q.Body, int(q.ContentLength / 2)}
		next.ServeHTTP(discarding{}, q)
		panic(http.ErrAbortHandler)
	}},
	{"answer cut off", true, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		b := record(w, q, next)
		w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{"answer corrupted", false, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		b := record(w, q, next)
		if len(b) > 0 {
			b[len(b)/2] ^= 0x55
		}
		w.Write(b)
	}},
	{"request corrupted", false, func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		q.Body = flipping{q.Body}
		next.ServeHTTP(w, q)
	}},
	{"429", true, status(http.StatusTooManyRequests)},
	{"500", true, status(http.StatusInternalServerError)},
	{"503", true, status(http.StatusServiceUnavailable)},
	{"403", false, status(http.StatusForbidden)},
	{"empty answer", false, status(http.StatusOK)},
	{"redirect to itself", false, func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
		http.Redirect(w, q, q.URL.String(), http.StatusTemporaryRedirect)
	}},
	{"redirect to nowhere", false, func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
		http.Redirect(w, q, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
	}},
}

func status(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(code) }
}

// record gives an answer's body, its head being sent already.
func record(w http.ResponseWriter, q *http.Request, next http.Handler) []byte {
	r := httptest.NewRecorder()
	next.ServeHTTP(r, q)
	for k, v := range r.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(r.Code)
	return r.Body.Bytes()
}

type flipping struct {
	r interface{ Read([]byte) (int, error) }
}

func (f flipping) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 {
		p[n/2] ^= 0x55
	}
	return n, err
}
func (f flipping) Close() error { return nil }

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
	try := func(f *faulty) error {
		guard := &tokenServer{}
		reg := registrytest.Start(t, registrytest.Options{Wrap: func(next http.Handler) http.Handler { return f.wrap(guard.wrap(next)) }})
		defer reg.Close()
		r := open(t, reg, quick(), "x", a)
		r.c.small = 64 << 10
		return journey(t, r, blobs)
	}
	sound := &faulty{at: -1}
	if err := try(sound); err != nil {
		t.Fatal(err)
	}
	requests := sound.count.Load()
	t.Logf("%d requests, %d faults", requests, len(faults))
	for _, f := range faults {
		for at := range requests {
			for _, all := range []bool{false, true} {
				if all && at%3 != 0 { // as much is to be seen at every third
					continue
				}
				broken := &faulty{at: at, all: all, what: f.what}
				err := try(broken)
				switch {
				case err == nil:
				case f.heals && !all:
					t.Errorf("%s once, at request %d: %v", f.name, at, err)
				case fault.KindOf(err) == fault.Internal:
					t.Errorf("%s at request %d, for ever %v: an error without kind: %v", f.name, at, all, err)
				}
				if broken.count.Load() > requests*8 {
					t.Errorf("%s at request %d, for ever %v: %d requests", f.name, at, all, broken.count.Load())
				}
			}
		}
	}
}
