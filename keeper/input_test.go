package keeper_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/linux/spawn"
	"hoy/test/eventually"
)

// as is shell for a user.
func as(t *testing.T, uid int, script string) *spawn.Plan {
	t.Helper()
	s := spawn.New()
	for i := range 3 {
		s.Call("move", "stdio", unix.SYS_DUP3, s.Stdio(i), spawn.Int(1000+i), spawn.Int(0))
	}
	for i := range 3 {
		s.Call("set", "stdio", unix.SYS_DUP3, spawn.Int(1000+i), spawn.Int(i), spawn.Int(0))
	}
	s.Call("set", "user", unix.SYS_SETUID, spawn.Int(uid))
	return sealed(t, s, script)
}

// TestDevStdin has processes open their standard input by name, before and after its
// end, as root and as another user.
func TestDevStdin(t *testing.T) {
	for name, uid := range map[string]int{"root": 0, "another user": 1000} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			mine, theirs := pair(t)
			b.spawn(keeper.SpawnRequest{ID: "c", OpenStdin: true, StdinOnce: true,
				Plan:   as(t, uid, "head -n 1 </dev/stdin; cat /proc/self/fd/0; cat /dev/stdin; echo end; echo out >/dev/stdout; echo err >/dev/stderr"),
				Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
			send(t, mine, "one\n")
			expect(t, mine, "one\n")
			send(t, mine, "two\n")
			expect(t, mine, "two\n")
			closeWrite(mine)
			if got := readAll(t, mine); got != "end\nout\n" {
				t.Errorf("after the end of input: %q", got)
			}
			b.exit()
		})
	}
}

// TestStdinAcrossCrashes kills the keeper, or also ends the engine's connection, with
// an input that is open, and with one that has ended.
func TestStdinAcrossCrashes(t *testing.T) {
	crashes := map[string]func(b *bed){
		"keeper": func(b *bed) { b.killKeeper() },
		"both": func(b *bed) {
			pid, err := b.pid()
			if err != nil {
				b.t.Fatal(err)
			}
			b.c.Close()
			unix.Kill(pid, unix.SIGKILL)
			eventually.True(b.t, "the keeper's end", func() bool { return !alive(pid) })
			b.start()
		},
	}
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			gate := filepath.Join(t.TempDir(), "go") // where every user sees it
			os.Chmod(filepath.Dir(gate), 0o755)
			os.Chmod(filepath.Dir(filepath.Dir(gate)), 0o755)
			// Whoever reads while nobody has the other end sees the end: this one polls.
			b.spawn(keeper.SpawnRequest{ID: "open", OpenStdin: true, Log: b.logConfig("open"),
				Plan: as(t, 1000, "read a; echo $a; while [ ! -e "+gate+" ]; do usleep 5000; done; cat /dev/stdin; exit 3")})
			mine, theirs := pair(t)
			b.spawn(keeper.SpawnRequest{ID: "ended", OpenStdin: true, StdinOnce: true, Log: b.logConfig("ended"),
				Plan:   as(t, 1000, "cat; echo one; while [ ! -e "+gate+" ]; do usleep 5000; done; cat /dev/stdin; echo two; exit 4"),
				Attach: []keeper.Attachment{{Conn: theirs, Stdin: true}}})
			input := func(s string) {
				mine, theirs := pair(t)
				if err := b.c.Attach(b.ctx(), "open", keeper.Attachment{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
					t.Fatal(err)
				}
				send(t, mine, s)
			}
			input("first\n")
			closeWrite(mine)
			eventually.True(t, "both have read", func() bool {
				return b.logged("open", "stdout") == "first\n" && b.logged("ended", "stdout") == "one\n"
			})
			crash(b)
			input("second\n")
			if err := os.WriteFile(gate, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if e := b.exit(); e.ID != "ended" || e.Code != 4 {
				t.Errorf("%+v", e)
			}
			eventually.True(t, "input after the crash", func() bool { return b.logged("open", "stdout") == "first\nsecond\n" })
			if err := b.c.CloseStdin(b.ctx(), "open"); err != nil {
				t.Fatal(err)
			}
			if e := b.exit(); e.ID != "open" || e.Code != 3 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestInputEndsWhileTheKeeperDies has the input end at the moment at which the keeper
// is killed: it ends all the same, whatever duplicates the engine has.
func TestInputEndsWhileTheKeeperDies(t *testing.T) {
	b := newBed(t)
	for i := range 20 {
		mine, theirs := pair(t)
		b.spawn(keeper.SpawnRequest{ID: "c", Generation: uint64(i + 1), OpenStdin: true, StdinOnce: true, Plan: shell(t, "cat; exit 5"),
			Attach: []keeper.Attachment{{Conn: theirs, Stdin: true}}})
		closeWrite(mine)
		time.Sleep(time.Duration(i*20) * time.Microsecond)
		b.killKeeper()
		select {
		case e := <-b.c.Exits():
			b.c.Ack(b.ctx(), e.ID, e.Generation)
		case <-time.After(200 * time.Millisecond): // killed before it had seen the end: as long as nobody closes it, it is open
			if err := b.c.CloseStdin(b.ctx(), "c"); err != nil && !fault.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
			b.exit()
		}
	}
}

// TestFullInputHoldsUpNothing: a process that does not read its input, with a client that
// has more of it, holds up neither the end of that client nor the process's own, though
// another process has the input open.
func TestFullInputHoldsUpNothing(t *testing.T) {
	b := newBed(t)
	fill := func(f *os.File) {
		f.SetWriteDeadline(time.Now().Add(time.Second))
		for {
			if _, err := f.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	t.Run("client", func(t *testing.T) {
		mine, theirs := pair(t)
		b.spawn(keeper.SpawnRequest{ID: "c", OpenStdin: true, Log: b.logConfig("c"), Plan: shell(t, "while [ ! -e "+b.root+"/go ]; do usleep 5000; done; seq 100000; exit 3"),
			Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
		fill(mine)
		mine.Close()
		if err := os.WriteFile(filepath.Join(b.root, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if e := b.exit(); e.Code != 3 {
			t.Errorf("%+v", e)
		}
		checkNumbered(t, b.logged("c", "stdout"), 100000)
	})
	t.Run("end", func(t *testing.T) {
		mine, theirs := pair(t)
		gate := filepath.Join(b.root, "stays") // as long as it is there, so does the other process
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b.spawn(keeper.SpawnRequest{ID: "d", OpenStdin: true, Plan: shell(t, "exec 3<&0; (while [ -e "+gate+" ]; do usleep 5000; done) & usleep 1500000; exit 3"),
			Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
		fill(mine)
		if e := b.exit(); e.Code != 3 {
			t.Errorf("%+v", e)
		}
		if err := os.Remove(gate); err != nil {
			t.Fatal(err)
		}
	})
}
