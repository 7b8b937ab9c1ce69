package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/lib/fault"
	"hoy/linux/spawn"
	"hoy/test/eventually"
	"hoy/test/keeperbin"
)

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func TestSpawnIsIdempotent(t *testing.T) {
	b := newBed(t)
	first := b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "read x"), OpenStdin: true})
	again := b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "read x"), OpenStdin: true})
	if first.Pid != again.Pid {
		t.Errorf("the repeated request made process %d, the first %d", again.Pid, first.Pid)
	}
	_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Generation: 2, Plan: shell(t, ":")})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("next start while it runs: %v", err)
	}
	if err := b.c.CloseStdin(b.ctx(), "c"); err != nil {
		t.Fatal(err)
	}
	<-b.c.Exits()
	next := b.spawn(keeper.SpawnRequest{ID: "c", Generation: 2, Plan: shell(t, "exit 2")})
	if next.Pid == first.Pid {
		t.Error("the next start returned the old process")
	}
	if e := b.exit(); e.Generation != 2 || e.Code != 2 {
		t.Errorf("%+v", e)
	}
	if _, err = b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "../c", Plan: shell(t, ":")}); !fault.Is(err, fault.Invalid) {
		t.Errorf("id with a path: %v", err)
	}
}

// explain puts a failed step into words.
func explain(p *spawn.Plan, err error) error {
	var step *spawn.StepError
	if errors.As(err, &step) {
		return p.Explain(step)
	}
	return err
}

func TestFailedStepIsNamed(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	s := spawn.New()
	s.Call("enter", "/no/such/dir", unix.SYS_CHDIR, s.Str("/no/such/dir"))
	plan := sealed(t, s, ":")
	_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "c", Plan: plan, Log: b.logConfig("c"),
		Attach: []keeper.Attachment{{Conn: theirs, Stdout: true}}})
	err = explain(plan, err)
	if want := "cannot enter /no/such/dir: chdir: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	send(t, theirs, "still mine") // the socket of a failed spawn is the caller's
	expect(t, mine, "still mine")
	if held, err := b.c.List(b.ctx()); err != nil || len(held) != 0 {
		t.Errorf("held: %+v, %v", held, err)
	}
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "exit 1")})
	if e := b.exit(); e.Code != 1 {
		t.Errorf("%+v", e)
	}
}

// TestHangingSpawn has a child stopped before its exec. It is killed at its deadline,
// and other requests go on meanwhile.
func TestHangingSpawn(t *testing.T) {
	b := newBed(t)
	s := spawn.New()
	s.Call("wait", "for nothing", unix.SYS_PPOLL, spawn.Int(0), spawn.Int(0), spawn.Int(0), spawn.Int(0), spawn.Int(8))
	plan := sealed(t, s, ":")
	failed := make(chan error, 1)
	go func() {
		_, err := b.c.Spawn(b.ctx(), keeper.SpawnRequest{ID: "hangs", Plan: plan, Deadline: time.Second})
		failed <- err
	}()
	for i := range 10 {
		b.spawn(keeper.SpawnRequest{ID: fmt.Sprint("c", i), Plan: shell(t, ":")})
		b.exit()
	}
	if err := explain(plan, <-failed); err == nil || !strings.Contains(err.Error(), "cannot wait for nothing: ppoll: killed") {
		t.Errorf("%v", err)
	}
}

func TestExitsOutliveTheEngine(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "runs", Plan: shell(t, "read x; exit 6"), OpenStdin: true})
	b.spawn(keeper.SpawnRequest{ID: "done", Plan: shell(t, "exit 5")})
	<-b.c.Exits()
	b.c.Close()
	b.start()
	if e := b.exit(); e.ID != "done" || e.Code != 5 {
		t.Errorf("%+v", e)
	}
	held, err := b.c.List(b.ctx())
	if err != nil || len(held) != 1 || held[0].ID != "runs" || held[0].Pidfd == nil || !held[0].OpenStdin {
		t.Fatalf("%+v, %v", held, err)
	}
	if err := b.c.CloseStdin(b.ctx(), "runs"); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.ID != "runs" || e.Code != 6 {
		t.Errorf("%+v", e)
	}
}

// TestExitWhileNobodyWatches has engine and keeper dead when the process ends.
func TestExitWhileNobodyWatches(t *testing.T) {
	b := newBed(t)
	p := b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "exec sleep 100")})
	pid, err := b.pid()
	if err != nil {
		t.Fatal(err)
	}
	b.c.Close()
	unix.Kill(pid, unix.SIGKILL)
	eventually.True(t, "the keeper's end", func() bool { return !alive(pid) })
	unix.Kill(p.Pid, unix.SIGTERM)
	eventually.True(t, "the process's end", func() bool { return !alive(p.Pid) })
	b.start()
	if e := b.exit(); e.Code != 255 || !strings.Contains(e.Error, "exit code is lost") {
		t.Errorf("%+v", e)
	}
}

func TestTiedProcessDiesWithItsEngine(t *testing.T) {
	b := newBed(t)
	tied := b.spawn(keeper.SpawnRequest{ID: "tied", Plan: shell(t, "exec sleep 100"), Tied: true})
	free := b.spawn(keeper.SpawnRequest{ID: "free", Plan: shell(t, "exec sleep 100")})
	b.c.Close()
	b.start()
	if e := b.exit(); e.ID != "tied" || e.Code != 137 {
		t.Errorf("%+v", e)
	}
	if !alive(free.Pid) || alive(tied.Pid) {
		t.Error("the wrong one died")
	}
	b.killKeeper() // the tied ones of a client that is there survive a keeper
	again := b.spawn(keeper.SpawnRequest{ID: "again", Plan: shell(t, "exec sleep 100"), Tied: true})
	b.killKeeper()
	if !alive(again.Pid) {
		t.Error("died with the keeper")
	}
	b.killAll()
}

func TestKeeperEndsWhenNobodyNeedsIt(t *testing.T) {
	b := newBed(t)
	pid, err := b.pid()
	if err != nil {
		t.Fatal(err)
	}
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "read x"), OpenStdin: true})
	unix.Kill(pid, unix.SIGTERM) // it holds something: it stays
	if err := b.c.CloseStdin(b.ctx(), "c"); err != nil {
		t.Fatal(err)
	}
	b.exit()
	b.c.Close()
	eventually.True(t, "the keeper's end", func() bool { return !alive(pid) })
	es, err := os.ReadDir(b.o.ExecRoot)
	if err != nil || len(es) != 1 || es[0].Name() != "keeper.log" {
		t.Errorf("left %v, %v", es, err)
	}
}

func TestOneKeeperForManyEngines(t *testing.T) {
	b := newBed(t)
	first, _ := b.pid()
	clients := make(chan *keeper.Client, 8)
	for range cap(clients) {
		go func() {
			c, err := keeper.Start(b.ctx(), b.o)
			if err != nil {
				t.Error(err)
			}
			clients <- c
		}()
	}
	for range cap(clients) {
		if c := <-clients; c != nil {
			c.Close()
		}
	}
	if now, _ := b.pid(); now != first {
		t.Errorf("keeper %d was replaced by %d", first, now)
	}
}

func TestKilledKeeperKeepsTerminalsAndInput(t *testing.T) {
	b := newBed(t)
	plan, master := terminal(t, "stty -echo; echo ready; read a; echo a $a; read b; echo b $b; read c; exit 3")
	b.spawn(keeper.SpawnRequest{ID: "tty", Plan: plan, Console: master, OpenStdin: true, Log: b.logConfig("tty")})
	master.Close()
	eventually.True(t, "the terminal has no echo", func() bool { return b.logged("tty", "stdout") == "ready\r\n" })
	b.spawn(keeper.SpawnRequest{ID: "fifo", Plan: shell(t, "cat; exit 4"), OpenStdin: true, Log: b.logConfig("fifo")})
	for _, word := range []string{"one", "two"} {
		for _, id := range []string{"tty", "fifo"} {
			mine, theirs := pair(t)
			if err := b.c.Attach(b.ctx(), id, keeper.Attachment{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
				t.Fatal(err)
			}
			send(t, mine, word+"\n")
			expect(t, mine, word)
		}
		b.killKeeper()
	}
	if err := b.c.CloseStdin(b.ctx(), "fifo"); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.ID != "fifo" || e.Code != 4 {
		t.Errorf("%+v", e)
	}
	mine, theirs := pair(t)
	if err := b.c.Attach(b.ctx(), "tty", keeper.Attachment{Conn: theirs, Stdin: true}); err != nil {
		t.Fatal(err)
	}
	send(t, mine, "end\n")
	if e := b.exit(); e.ID != "tty" || e.Code != 3 {
		t.Errorf("%+v", e)
	}
	if got := b.logged("tty", "stdout"); got != "ready\r\na one\r\nb two\r\n" {
		t.Errorf("terminal logged %q", got)
	}
	if got := b.logged("fifo", "stdout"); got != "one\ntwo\n" {
		t.Errorf("fifo logged %q", got)
	}
}

func TestTerminalLosesNoLine(t *testing.T) {
	b := newBed(t)
	const lines = 400
	plan, master := terminal(t, "stty -echo; "+fmt.Sprintf(counting, lines, 1))
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: plan, Console: master, Log: b.logConfig("c")})
	master.Close()
	kills := 0
	for {
		select {
		case e := <-b.c.Exits():
			if e.Code != 7 {
				t.Errorf("%+v", e)
			}
			if err := b.c.Ack(b.ctx(), e.ID, e.Generation); err != nil {
				t.Error(err)
			}
			t.Logf("killed %d times", kills)
			checkNumbered(t, b.logged("c", "stdout"), lines)
			return
		case <-time.After(time.Duration(5+kills%17) * time.Millisecond):
			b.killKeeper()
			kills++
		}
	}
}

// TestAnswerOutlivesTheEngine has a client attached whose engine has gone.
func TestAttachedClientOutlivesTheEngine(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat"), OpenStdin: true, StdinOnce: true,
		Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
	b.c.Close()
	send(t, mine, "hello\n")
	expect(t, mine, "hello\n")
	closeWrite(mine)
	readAll(t, mine)
	b.start()
	b.exit()
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		o    keeper.Options
		want string
	}{
		{keeper.Options{Exec: "/no/such/keeper", ExecRoot: dir}, "cannot start keeper"},
		{keeper.Options{Exec: "/bin/true", ExecRoot: dir}, "it said nothing and ended"},
		{keeper.Options{Exec: keeperbin.Path(t), ExecRoot: filepath.Join("/dev/null", "x")}, "cannot start keeper"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		c, err := keeper.Start(ctx, tc.o)
		cancel()
		if err == nil {
			c.Close()
			t.Errorf("%+v: started", tc.o)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.o, err, tc.want)
		}
	}
}

func TestContextEndsACall(t *testing.T) {
	b := newBed(t)
	ctx, cancel := context.WithCancel(b.ctx())
	cancel()
	if _, err := b.c.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := b.c.List(b.ctx()); err != nil {
		t.Error(err)
	}
}
