package standin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoy/shim"
	"hoy/test/eventually"
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

// TestDeleteHangs: what a shim's program does not come to is given up.
func TestDeleteHangs(t *testing.T) {
	b := shim.Bundle(t.TempDir())
	program := filepath.Join(t.TempDir(), "shim")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nsleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := endDead(ctx, b, &shim.Task{ID: "c", Program: program})
	if err == nil || !strings.Contains(err.Error(), "shim delete") {
		t.Errorf("%v", err)
	}
	eventually.True(t, "the end of what it has started", func() bool { return len(inside(b)) == 0 })
}
