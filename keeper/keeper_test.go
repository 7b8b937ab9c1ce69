package keeper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/keeper/jsonlog"
	"hoy/linux/spawn"
	"hoy/test/keeperbin"
	"hoy/test/rootful"
)

// bed is a keeper of its own, and a client of it.
type bed struct {
	t    *testing.T
	root string
	o    keeper.Options
	c    *keeper.Client
}

func newBed(t *testing.T) *bed {
	rootful.Check(t)
	b := &bed{t: t, root: t.TempDir()}
	b.o = keeper.Options{Exec: keeperbin.Path(t), ExecRoot: filepath.Join(b.root, "x")}
	t.Cleanup(b.end)
	b.start()
	return b
}

// end ends the keeper, if it holds nothing, and what a failed test left it with.
func (b *bed) end() {
	states, _ := filepath.Glob(filepath.Join(b.o.ExecRoot, "keeper", "*.json"))
	for _, path := range states {
		var held struct{ Pid int }
		if s, err := os.ReadFile(path); err == nil && b.t.Failed() && json.Unmarshal(s, &held) == nil && held.Pid > 0 {
			unix.Kill(held.Pid, unix.SIGKILL)
		}
	}
	if pid, err := b.pid(); err == nil {
		unix.Kill(pid, unix.SIGTERM)
	}
}

// pid is the keeper's.
func (b *bed) pid() (int, error) {
	s, err := os.ReadFile(filepath.Join(b.o.ExecRoot, "keeper.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(s)))
}

func (b *bed) start() {
	b.t.Helper()
	c, err := keeper.Start(b.ctx(), b.o)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.keeperLog())
	}
	b.c = c
	b.t.Cleanup(func() { c.Close() })
}

func (b *bed) keeperLog() string {
	l, _ := os.ReadFile(filepath.Join(b.o.ExecRoot, "keeper.log"))
	return string(l)
}

func (b *bed) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

// shell is a plan that runs a shell script on the streams of the keeper.
func shell(t *testing.T, script string) *spawn.Plan {
	t.Helper()
	s := spawn.New()
	for i := range 3 {
		s.Call("move", "stdio", unix.SYS_DUP3, s.Stdio(i), spawn.Int(1000+i), spawn.Int(0))
	}
	for i := range 3 {
		s.Call("set", "stdio", unix.SYS_DUP3, spawn.Int(1000+i), spawn.Int(i), spawn.Int(0))
	}
	return sealed(t, s, script)
}

func sealed(t *testing.T, s *spawn.Script, script string) *spawn.Plan {
	t.Helper()
	s.Begin()
	s.Call("close", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<31), spawn.Int(unix.CLOSE_RANGE_CLOEXEC))
	s.Call("exec", "/bin/busybox", unix.SYS_EXECVE, s.Str("/bin/busybox"), s.Strings([]string{"busybox", "sh", "-c", script}), s.Strings([]string{"PATH=/bin"}))
	s.SetClone(spawn.Clone{})
	p, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (b *bed) logConfig(id string) *keeper.LogConfig {
	return &keeper.LogConfig{Path: filepath.Join(b.root, id+"-json.log")}
}

func (b *bed) spawn(r keeper.SpawnRequest) *keeper.Process {
	b.t.Helper()
	if r.Generation == 0 {
		r.Generation = 1
	}
	p, err := b.c.Spawn(b.ctx(), r)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.keeperLog())
	}
	return p
}

// exit waits for the next exit and acknowledges it.
func (b *bed) exit() keeper.Exit {
	b.t.Helper()
	select {
	case e := <-b.c.Exits():
		if err := b.c.Ack(b.ctx(), e.ID, e.Generation); err != nil {
			b.t.Error(err)
		}
		return e
	case <-time.After(20 * time.Second):
		b.t.Fatalf("no exit\n%s", b.keeperLog())
		panic("")
	}
}

// logged returns what the log of id holds of a stream.
func (b *bed) logged(id, stream string) string {
	b.t.Helper()
	var s bytes.Buffer
	err := jsonlog.Read(b.ctx(), b.logConfig(id).Path, jsonlog.ReadOptions{Tail: -1}, func(e jsonlog.Entry) error {
		if e.Stream == stream {
			s.Write(e.Line)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return s.String()
}

// pair returns a connected client socket and the end for the keeper.
func pair(t *testing.T) (mine, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine = os.NewFile(uintptr(fds[0]), "mine")
	theirs = os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { mine.Close(); theirs.Close() })
	return mine, theirs
}

func closeWrite(f *os.File) { unix.Shutdown(int(f.Fd()), unix.SHUT_WR) }

// readAll reads until the end, which must come within the test's patience.
func readAll(t *testing.T, f *os.File) string {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

func TestExitCodes(t *testing.T) {
	b := newBed(t)
	for i, tc := range []struct {
		script string
		code   int
	}{
		{"exit 0", 0}, {"exit 3", 3}, {"exit 255", 255}, {"kill -9 $$", 137}, {"kill -TERM $$", 143},
	} {
		id := fmt.Sprint("c", i)
		b.spawn(keeper.SpawnRequest{ID: id, Plan: shell(t, tc.script)})
		if e := b.exit(); e.ID != id || e.Code != tc.code || e.Error != "" {
			t.Errorf("%s: %+v, want code %d", tc.script, e, tc.code)
		}
	}
}

func TestLogAndClientsSeeAllOutput(t *testing.T) {
	b := newBed(t)
	raw, theirRaw := pair(t)
	mux, theirMux := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "echo out; echo err >&2; printf unfinished"), Log: b.logConfig("c"),
		Attach: []keeper.Attachment{{Conn: theirRaw, Stdout: true}, {Conn: theirMux, Stderr: true, Mux: true}}})
	if got, want := readAll(t, raw), "out\nunfinished"; got != want {
		t.Errorf("stdout client got %q, want %q", got, want)
	}
	if got, want := readAll(t, mux), "\x02\x00\x00\x00\x00\x00\x00\x04err\n"; got != want {
		t.Errorf("stderr client got %q, want %q", got, want)
	}
	if e := b.exit(); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if got, want := b.logged("c", "stdout"), "out\nunfinished"; got != want {
		t.Errorf("stdout logged: %q, want %q", got, want)
	}
	if got, want := b.logged("c", "stderr"), "err\n"; got != want {
		t.Errorf("stderr logged: %q, want %q", got, want)
	}
}
