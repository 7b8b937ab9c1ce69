//go:build linux

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/moby/moby/api/types/jsonstream"
)

// TestPullOnTerminal draws in place, and leaves lines.
func TestPullOnTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	f := newFake(t)
	f.json("GET /info", 200, map[string]string{})
	f.mux.HandleFunc("POST /images/create", func(w http.ResponseWriter, _ *http.Request) {
		for _, m := range []jsonstream.Message{
			{ID: "aaaa", Status: "Downloading", Progress: &jsonstream.Progress{Current: 1e6, Total: 2e6}},
			{ID: "aaaa", Status: "Pull complete", Progress: &jsonstream.Progress{}},
			{Status: "Digest: sha256:00"},
		} {
			json.NewEncoder(w).Encode(m)
		}
	})
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // EIO when the other side is closed
		seen <- string(b)
	}()
	code := Main([]string{"-H", "unix://" + f.socket, "pull", "localhost:5000/x:1"}, Streams{In: strings.NewReader(""), Out: tty, Err: io.Discard})
	tty.Close()
	text := <-seen
	for _, want := range []string{"aaaa: Downloading  [===", "1MB/2MB", "\x1b[1A", "aaaa: Pull complete\x1b[K\r\n", "Digest: sha256:00\r\n", "Downloaded 2MB in ", "localhost:5000/x:1\r\n"} {
		if code != 0 || !strings.Contains(text, want) {
			t.Errorf("code %d, want %q in\n%q", code, want, text)
		}
	}
}

// TestPullInterrupted: the engine's side of the connection ends, and we by the signal's
// code.
func TestPullInterrupted(t *testing.T) {
	f := newFake(t)
	f.json("GET /info", 200, map[string]string{})
	gone := make(chan struct{})
	f.mux.HandleFunc("POST /images/create", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(jsonstream.Message{ID: "aaaa", Status: "Waiting"})
		w.(http.Flusher).Flush()
		syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-r.Context().Done()
		close(gone)
	})
	code, out, errs := f.hoy("", "pull", "localhost:5000/x:1")
	<-gone
	if code != 130 || !strings.HasPrefix("aaaa: Waiting\n", out) || errs != "hoy: interrupted\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}
