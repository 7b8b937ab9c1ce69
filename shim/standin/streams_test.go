package standin

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFeed: input waits for a shim that opens its end late.
func TestFeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		feed(path, strings.NewReader("in"))
		close(ended)
	}()
	select {
	case <-ended:
		t.Fatal("the input has ended, and nobody has read it")
	case <-time.After(20 * time.Millisecond):
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "in" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	<-ended
}
