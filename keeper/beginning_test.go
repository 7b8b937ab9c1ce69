package keeper_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/failpoint"
	"hoy/linux/spawn"
	"hoy/test/eventually"
)

// TestEndedBeforeASuccessorComes has a keeper die before it has written down the pid of a
// process that ends at once: it is started once all the same.
func TestEndedBeforeASuccessorComes(t *testing.T) {
	for _, with := range []string{"pipes", "terminal"} {
		t.Run(with, func(t *testing.T) {
			t.Setenv("HOY_FAILPOINT", string(failpoint.KeeperSpawnCloned)+"=kill")
			b := newBed(t)
			ran := filepath.Join(b.root, "ran")
			script := fmt.Sprintf("echo x >>%s; echo said", ran)
			r := keeper.SpawnRequest{ID: "c", Log: b.logConfig("c")}
			if with == "terminal" {
				r.Plan, r.Console = terminal(t, script)
			} else {
				r.Plan = shell(t, script)
			}
			mine, theirs := pair(t)
			r.Attach = []keeper.Attachment{{Conn: theirs, Stdout: true}}
			b.spawn(r)
			e := b.exit()
			if got, err := os.ReadFile(ran); string(got) != "x\n" {
				t.Errorf("it ran %q, %v", got, err)
			}
			if e.ID != "c" || e.Code != 255 && e.Code != 0 {
				t.Errorf("%+v", e)
			}
			b.waitLost()
			got := readAll(t, mine)
			if r.Console != nil {
				r.Console.Close()
				// The engine has the terminal, with what was said to it.
				if !strings.Contains(got, "said") || !strings.Contains(b.logged("c", "stdout"), "said") {
					t.Errorf("the client got %q, the log %q", got, b.logged("c", "stdout"))
				}
			}
			if held, err := b.c.List(b.ctx()); err != nil || len(held) != 0 {
				t.Errorf("held: %+v, %v", held, err)
			}
		})
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// TestOnTheWayWhenItsKeeperDies has a keeper die while a child, which is a helper's, has not
// executed its program yet, for longer than it is looked for: it never does.
func TestOnTheWayWhenItsKeeperDies(t *testing.T) {
	b := newBed(t)
	r, w := pipe(t)
	ran := filepath.Join(b.root, "ran")
	s := spawn.New()
	there := filepath.Join(b.root, "there")
	s.Call("say", "that it is there", unix.SYS_MKDIRAT, spawn.Int(unix.AT_FDCWD), s.Str(there), spawn.Int(0o700)).Ignore(unix.EEXIST)
	s.Call("wait", "for a byte", unix.SYS_READ, s.File(r), s.Bytes(make([]byte, 8)), spawn.Int(1))
	s.Begin()
	s.Call("close", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<31), spawn.Int(0))
	s.Birth()
	s.Call("exec", "/bin/busybox", unix.SYS_EXECVE, s.Str("/bin/busybox"), s.Strings([]string{"busybox", "sh", "-c", "echo x >>" + ran}), s.Strings([]string{"PATH=/bin"}))
	s.SetClone(spawn.Clone{Exposed: true})
	plan, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	spawned := make(chan error, 1)
	go func() {
		_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Generation: 1, Plan: plan, Log: b.logConfig("c")})
		spawned <- err
	}()
	eventually.True(t, "the child", func() bool { _, err := os.Stat(there); return err == nil })
	b.killKeeper()
	if err := os.Remove(there); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the second child", func() bool { _, err := os.Stat(there); return err == nil })
	w.WriteString("xx")
	if err := <-spawned; err != nil {
		t.Errorf("%v", explain(plan, err))
	}
	if e := b.exit(); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if got, err := os.ReadFile(ran); string(got) != "x\n" {
		t.Errorf("it ran %q, %v", got, err)
	}
}

// TestHangingStartEndsWithItsKeeper has a keeper die while a child hangs: it does not keep
// another keeper from coming.
func TestHangingStartEndsWithItsKeeper(t *testing.T) {
	b := newBed(t)
	r, w := pipe(t)
	ran, there := filepath.Join(b.root, "ran"), filepath.Join(b.root, "there")
	s := spawn.New()
	s.Bind()
	s.Call("say", "that it is there", unix.SYS_MKDIRAT, spawn.Int(unix.AT_FDCWD), s.Str(there), spawn.Int(0o700))
	s.Call("wait", "for a byte", unix.SYS_READ, s.File(r), s.Bytes(make([]byte, 8)), spawn.Int(1))
	plan := sealed(t, s, "echo x >>"+ran)
	spawned := make(chan error, 1)
	go func() {
		_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Generation: 1, Plan: plan})
		spawned <- err
	}()
	isThere := func() bool { return os.Remove(there) == nil }
	eventually.True(t, "the child", isThere)
	b.killKeeper()
	eventually.True(t, "another child", isThere)
	w.WriteString("x")
	if err := <-spawned; err != nil {
		t.Errorf("%v", explain(plan, err))
	}
	if e := b.exit(); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if got, err := os.ReadFile(ran); string(got) != "x\n" {
		t.Errorf("it ran %q, %v", got, err)
	}
}
