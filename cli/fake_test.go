package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hoy/lib/version"
)

// fake is an engine of which a test says what it answers, on a real socket.
type fake struct {
	t       *testing.T
	socket  string
	mux     *http.ServeMux
	server  *http.Server
	version string // of the API that it speaks

	mu   sync.Mutex
	asks []string
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, socket: filepath.Join(t.TempDir(), "s"), mux: http.NewServeMux(), version: version.API}
	f.listen()
	return f
}

func (f *fake) listen() {
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve)}
	srv := f.server
	go srv.Serve(l)
	f.t.Cleanup(func() { srv.Close() })
}

// restart ends all connections and listens again after a while.
func (f *fake) restart() {
	f.server.Close()
	f.listen()
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asks = append(f.asks, r.Method+" "+r.URL.RequestURI())
	f.mu.Unlock()
	http.StripPrefix("/v"+f.version, f.mux).ServeHTTP(w, r)
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asks...)
}

func (f *fake) json(pattern string, status int, v any) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	})
}

// refuse answers as the engine refuses.
func (f *fake) refuse(pattern string, status int, message string) {
	f.json(pattern, status, map[string]string{"message": message})
}

// streams answers a request for streams by taking its connection over.
func (f *fake) streams(pattern string, tty bool, serve func(c net.Conn, in io.Reader)) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			f.t.Error(err)
			return
		}
		kind := "multiplexed"
		if tty {
			kind = "raw"
		}
		io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker."+kind+"-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		serve(c, rw.Reader)
		c.Close()
	})
}

// frame is output as the engine frames it: 1 stdout, 2 stderr.
func frame(stream byte, text string) []byte {
	b := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(b[4:], uint32(len(text)))
	return append(b, text...)
}

// container makes the fake have one container: start lets it run, and what it
// returns is its exit code.
func (f *fake) container(run func(c net.Conn, in io.Reader) int) {
	started, ended := make(chan struct{}), make(chan int, 1)
	f.json("POST /containers/create", 201, map[string]any{"Id": "c0ffee", "Warnings": []string{}})
	f.streams("POST /containers/c0ffee/attach", false, func(c net.Conn, in io.Reader) {
		<-started
		ended <- run(c, in)
	})
	f.mux.HandleFunc("POST /containers/c0ffee/wait", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		select {
		case code := <-ended:
			json.NewEncoder(w).Encode(map[string]int{"StatusCode": code})
		case <-r.Context().Done():
		}
	})
	f.mux.HandleFunc("POST /containers/c0ffee/start", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(204)
		close(started)
	})
}

// hoy runs a command line against the fake.
func (f *fake) hoy(in string, args ...string) (code int, out, errs string) {
	f.t.Helper()
	var o, e bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- Main(append([]string{"-H", "unix://" + f.socket}, args...), Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	}()
	select {
	case code = <-done:
	case <-time.After(20 * time.Second):
		f.t.Fatalf("hoy %s does not end; asked: %q", strings.Join(args, " "), f.asked())
	}
	return code, o.String(), e.String()
}
