//go:build unix

package cli

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestInterrupt ends commands that wait for what comes, and nothing does.
func TestInterrupt(t *testing.T) {
	for _, line := range []string{"events", "logs -f x", "wait x"} {
		f := newFake(t)
		wait := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
			w.(http.Flusher).Flush()
			syscall.Kill(syscall.Getpid(), syscall.SIGINT)
			<-r.Context().Done()
		}
		f.mux.HandleFunc("GET /events", wait)
		f.mux.HandleFunc("GET /containers/x/logs", wait)
		f.mux.HandleFunc("POST /containers/x/wait", wait)
		if code, _, errs := f.hoy("", strings.Fields(line)...); code != 130 || errs != "" {
			t.Errorf("hoy %s: code %d, stderr %q; want 130", line, code, errs)
		}
	}
}
