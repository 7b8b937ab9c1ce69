package keeper_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/test/eventually"
	"hoy/test/keeperbin"
	"hoy/test/rootful"
)

// TestFullExecRoot has the keeper live on where there is no room for what it keeps in
// memory that files have, too: clients get everything, ends are told, and when there is
// room again it starts and logs as before.
func TestFullExecRoot(t *testing.T) {
	rootful.Check(t)
	b := &bed{t: t, root: t.TempDir()}
	b.o = keeper.Options{Exec: keeperbin.Path(t), ExecRoot: filepath.Join(b.root, "x")}
	if err := os.Mkdir(b.o.ExecRoot, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("x", b.o.ExecRoot, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually.True(t, "the exec root to be left", func() bool { return unix.Unmount(b.o.ExecRoot, 0) == nil })
	})
	t.Cleanup(b.end)
	b.start()
	pid, err := b.pid()
	if err != nil {
		t.Fatal(err)
	}
	gate := filepath.Join(b.root, "go")
	const lines = 5000
	script := fmt.Sprintf("while [ ! -e %s ]; do usleep 5000; done; seq %d; exit 7", gate, lines)
	mine, theirs := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "attached", Plan: shell(t, script), Log: b.logConfig("attached"),
		Attach: []keeper.Attachment{{Conn: theirs, Stdout: true}}})
	plan, master := terminal(t, script)
	b.spawn(keeper.SpawnRequest{ID: "tty", Plan: plan, Console: master, Log: b.logConfig("tty")})
	master.Close()
	b.spawn(keeper.SpawnRequest{ID: "alone", Plan: shell(t, script), Log: b.logConfig("alone")})
	fill := filepath.Join(b.o.ExecRoot, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	late, theirLate := pair(t) // the journal of clients has no room
	if err := b.c.Attach(b.ctx(), "alone", keeper.Attachment{Conn: theirLate, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 2)
	for _, f := range []*os.File{mine, late} {
		go func() { s, _ := io.ReadAll(f); got <- string(s) }()
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if e := b.exit(); e.Code != 7 {
			t.Errorf("%+v", e)
		}
	}
	checkNumbered(t, <-got, lines)
	checkNumbered(t, <-got, lines)
	if now, err := b.pid(); err != nil || now != pid || !alive(pid) {
		t.Fatalf("keeper %d, %v; want %d\n%s", now, err, pid, b.keeperLog())
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	b.spawn(keeper.SpawnRequest{ID: "next", Plan: shell(t, script), Log: b.logConfig("next")})
	b.exit()
	checkNumbered(t, b.logged("next", "stdout"), lines)
}
