package standin

import (
	"net"
	"path/filepath"
	"testing"

	"hoy/shim"
)

// TestGone: a shim that has ended, or ends instead of an answer, has no container to kill.
func TestGone(t *testing.T) {
	b := shim.Bundle(filepath.Join(t.TempDir(), "b"))
	if err := b.Make(&shim.Task{ID: "c"}, nil); err != nil {
		t.Fatal(err)
	}
	kill := func(when string) {
		t.Helper()
		if code := Main([]string{"kill", string(b), "15"}); code != shim.CodeGone {
			t.Errorf("%s: code %d, want %d", when, code, shim.CodeGone)
		}
	}
	kill("never started")
	socket := b.Path("s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := b.Write("shim.json", shim.Address{Address: "unix://" + socket, Version: 3}); err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	kill("ends instead of an answer")
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	kill("killed")
}
