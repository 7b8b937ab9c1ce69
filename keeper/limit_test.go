package keeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/linux/spawn"
)

// TestKeeperOutOfDescriptors starts processes until the keeper cannot hold more: the
// next start fails in one clear line and leaves nothing, the others go on, and when
// they have ended there is room again.
func TestKeeperOutOfDescriptors(t *testing.T) {
	const limit = 96
	b := newBed(t)
	pid, err := b.pid()
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	start := func(i int) error {
		id := fmt.Sprint("c", i)
		s := spawn.New() // shell uses numbers beyond the limit
		for i := range 3 {
			s.Call("set", "stdio", unix.SYS_DUP3, s.Stdio(i), spawn.Int(i), spawn.Int(0))
		}
		_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: id, Generation: 1, Plan: sealed(t, s, "cat; echo end"), OpenStdin: true, Log: b.logConfig(id)})
		return err
	}
	n := 0
	for err = start(0); err == nil && n < limit; err = start(n) {
		n++
	}
	want := fmt.Sprintf("the keeper may open %d files and they are used up: ", limit)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("start %d: %v, want %q", n, err, want)
	}
	if n < limit/10 { // 5 files each, and 25 for one that starts
		t.Errorf("%d processes, with room for %d files", n, limit)
	}
	if es, _ := os.ReadDir(filepath.Join(b.o.ExecRoot, "io")); len(es) != n {
		t.Errorf("%d processes have files, want %d", len(es), n)
	}
	held, err := b.c.List(b.ctx())
	if err != nil || len(held) != n {
		t.Errorf("%d held, want %d: %v", len(held), n, err)
	}
	for i := range n {
		if err := b.c.CloseStdin(b.ctx(), fmt.Sprint("c", i)); err != nil {
			t.Error(err)
		}
	}
	for range n {
		if e := b.exit(); e.Code != 0 {
			t.Errorf("%+v", e)
		}
	}
	if err := start(n); err != nil {
		t.Errorf("with room again: %v", err)
	}
	b.killAll()
}

// TestEngineOutOfDescriptors is the same for the other end: no process is made that
// the engine could not hold.
func TestEngineOutOfDescriptors(t *testing.T) {
	b := newBed(t)
	plan := shell(t, "true")
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	low := unix.Rlimit{Cur: uint64(descriptors(t)) + 3, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Generation: 1, Plan: plan})
	unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	if want := fmt.Sprintf("the engine may open %d files and they are used up: ", low.Cur); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if held, err := b.c.List(b.ctx()); err != nil || len(held) != 0 {
		t.Errorf("held: %+v, %v", held, err)
	}
}

// TestSoftLimitIsRaised has a keeper that inherits a low soft limit raise it.
func TestSoftLimitIsRaised(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	pid, err := b.pid()
	var got unix.Rlimit
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &got)
	}
	if err != nil || got.Cur < was.Max-1 { // Go's own raising stops one below
		t.Errorf("soft limit %d, want %d: %v", got.Cur, was.Max, err)
	}
}
