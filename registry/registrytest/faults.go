package registrytest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
)

// Fault is something that may go wrong on the way to a registry.
type Fault struct {
	Name  string
	Heals bool // it does no harm if the request is sent again
	Do    func(w http.ResponseWriter, q *http.Request, next http.Handler)
}

// Broken has something go wrong with one request, or from that one on with all.
type Broken struct {
	Fault *Fault // nil: nothing goes wrong
	At    int64  // the first request, from 0
	All   bool   // and those after
	Count atomic.Int64
}

// Wrap stands before a registry.
func (b *Broken) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if n := b.Count.Add(1) - 1; b.Fault != nil && (n == b.At || b.All && n > b.At) {
			b.Fault.Do(w, q, next)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// Faults are all that may go wrong.
func Faults() []Fault {
	return []Fault{
		{"dropped before", true, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }},
		{"dropped after", true, func(_ http.ResponseWriter, q *http.Request, next http.Handler) {
			next.ServeHTTP(Nobody{}, q)
			panic(http.ErrAbortHandler)
		}},
		{"request cut off", true, func(_ http.ResponseWriter, q *http.Request, next http.Handler) {
			q.Body = &Short{q.Body, int(q.ContentLength / 2)}
			next.ServeHTTP(Nobody{}, q)
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

// flipping is a body of which some bits are others.
type flipping struct{ io.ReadCloser }

func (f flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[n/2] ^= 0x55
	}
	return n, err
}

// Short is a body that breaks off after N bytes.
type Short struct {
	io.ReadCloser
	N int
}

func (s *Short) Read(p []byte) (int, error) {
	if s.N == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), s.N)])
	s.N -= n
	return n, err
}

// Nobody is to whom an answer goes that is lost.
type Nobody struct{}

// Header is that of no answer.
func (Nobody) Header() http.Header { return http.Header{} }

// Write takes everything.
func (Nobody) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader does nothing.
func (Nobody) WriteHeader(int) {}
