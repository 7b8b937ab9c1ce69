package keeper_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoy/keeper"
	"hoy/lib/failpoint"
	"hoy/test/keeperbin"
)

// release makes another build of the keeper: bytes after its end change nothing else.
func (b *bed) release(content string) {
	b.t.Helper()
	was, err := os.ReadFile(keeperbin.Path(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	b.o.Exec = filepath.Join(b.t.TempDir(), "hoy-keeper")
	if err := os.WriteFile(b.o.Exec, append(was, content...), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

// upgrade has an engine of another release come.
func (b *bed) upgrade(content string) {
	b.t.Helper()
	b.c.Close()
	b.release(content)
	b.start()
}

// runs tells which program the keeper pid executes.
func (b *bed) runs(pid int) bool {
	b.t.Helper()
	got, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/exe", pid))
	want, err2 := os.ReadFile(b.o.Exec)
	if err1 != nil || err2 != nil {
		b.t.Fatal(err1, err2)
	}
	return string(got) == string(want)
}

// TestUpgradeInPlace replaces the keeper's program again and again under a container
// that prints with two attached clients, a terminal on which somebody types, and an
// input: the process stays, nothing is missing or there twice.
func TestUpgradeInPlace(t *testing.T) {
	const lines = 30000
	b := newBed(t)
	pid, err := b.pid()
	if err != nil {
		t.Fatal(err)
	}
	mux, theirMux := pair(t)
	tty, theirTTY := pair(t)
	plan, master := terminal(t, "stty -echo; echo ready; while read x; do echo got $x; done")
	both := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; echo $i >&2; [ $((i%%100)) = 0 ] && usleep 1000; done; exit 7", lines)
	b.spawn(keeper.SpawnRequest{ID: "con", Plan: shell(t, both), Log: b.logConfig("con"),
		Attach: []keeper.Attachment{{Conn: theirMux, Stdout: true, Stderr: true, Mux: true}}})
	b.spawn(keeper.SpawnRequest{ID: "tty", Plan: plan, Console: master, OpenStdin: true, Log: b.logConfig("tty"),
		Attach: []keeper.Attachment{{Conn: theirTTY, Stdin: true, Stdout: true}}})
	master.Close()
	b.spawn(keeper.SpawnRequest{ID: "in", Plan: shell(t, "cat; exit 3"), OpenStdin: true, Log: b.logConfig("in")})
	expect(t, tty, "ready\r\n")
	out := make(chan [3]string, 1)
	go func() { out <- demux(t, mux) }()
	for i := range 6 {
		b.upgrade(strings.Repeat("x", i+1))
		if now, err := b.pid(); err != nil || now != pid || !b.runs(pid) {
			t.Fatalf("keeper %d, %v; want %d with the new program\n%s", now, err, pid, b.keeperLog())
		}
		send(t, tty, fmt.Sprintf("word%d\n", i))
		expect(t, tty, fmt.Sprintf("got word%d\r\n", i))
		in, theirs := pair(t)
		if err := b.c.Attach(b.ctx(), "in", keeper.Attachment{Conn: theirs, Stdin: true}); err != nil {
			t.Fatal(err)
		}
		send(t, in, fmt.Sprintln(i+1))
		closeWrite(in)
		readAll(t, in)
	}
	if e := b.exit(); e.ID != "con" || e.Code != 7 || e.Error != "" {
		t.Errorf("%+v", e)
	}
	streams := <-out
	checkNumbered(t, streams[1], lines)
	checkNumbered(t, streams[2], lines)
	checkNumbered(t, b.logged("con", "stdout"), lines)
	checkNumbered(t, b.logged("in", "stdout"), 6)
	if err := b.c.CloseStdin(b.ctx(), "in"); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.ID != "in" || e.Code != 3 || e.Status.ExitStatus() != 3 {
		t.Errorf("%+v", e)
	}
	b.killAll()
	if l := b.keeperLog(); l != "" {
		t.Errorf("the keeper complains: %s", l)
	}
	if got, _ := io.ReadAll(tty); strings.Contains(string(got), "word") {
		t.Errorf("the terminal's client got twice: %q", got)
	}
}

// TestUpgradeFails has the old keeper go on.
func TestUpgradeFails(t *testing.T) {
	for name, prepare := range map[string]func(b *bed){
		"no program": func(b *bed) {
			b.release("x")
			if err := os.Truncate(b.o.Exec, 4); err != nil {
				t.Fatal(err)
			}
		},
		"failpoint": func(b *bed) { b.release("x") },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "failpoint" {
				t.Setenv("HOY_FAILPOINT", string(failpoint.KeeperUpgradeReady)+"=error")
			}
			b := newBed(t)
			pid, err := b.pid()
			if err != nil {
				t.Fatal(err)
			}
			mine, theirs := pair(t)
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; exit 7"), OpenStdin: true, StdinOnce: true,
				Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
			b.c.Close()
			prepare(b)
			var warned error
			b.o.Warn = func(err error) { warned = err }
			b.start()
			if warned == nil || !strings.Contains(warned.Error(), "cannot upgrade the keeper") {
				t.Errorf("warned: %v", warned)
			}
			if now, _ := b.pid(); now != pid || !alive(pid) {
				t.Errorf("keeper %d, want %d", now, pid)
			}
			send(t, mine, "still\n")
			expect(t, mine, "still\n")
			closeWrite(mine)
			if e := b.exit(); e.Code != 7 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestUpgradeKilled kills the keeper on both sides of the exec.
func TestUpgradeKilled(t *testing.T) {
	for _, at := range []failpoint.Point{failpoint.KeeperUpgradeReady, failpoint.KeeperUpgradeResumed} {
		t.Run(string(at), func(t *testing.T) {
			t.Setenv("HOY_FAILPOINT", string(at)+"=kill")
			b := newBed(t)
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, fmt.Sprintf(counting, 300, 1)), Log: b.logConfig("c")})
			time.Sleep(20 * time.Millisecond)
			os.Unsetenv("HOY_FAILPOINT")
			b.upgrade("x")
			if e := b.exit(); e.Code != 7 {
				t.Errorf("%+v", e)
			}
			checkNumbered(t, b.logged("c", "stdout"), 300)
		})
	}
}
