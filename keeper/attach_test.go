package keeper_test

import (
	"bufio"
	"fmt"
	"io"
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
)

// terminal is a plan that runs a shell script on a new terminal, whose master is
// returned too.
func terminal(t *testing.T, script string) (*spawn.Plan, *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s := spawn.New()
	s.Call("make", "session", unix.SYS_SETSID)
	slave := s.Call("open", "terminal", unix.SYS_OPENAT, spawn.Int(unix.AT_FDCWD), s.Str(fmt.Sprint("/dev/pts/", n)), spawn.Int(unix.O_RDWR))
	s.Call("set", "terminal", unix.SYS_IOCTL, slave.Result(), spawn.Int(unix.TIOCSCTTY), spawn.Int(0))
	for i := range 3 {
		s.Call("set", "stdio", unix.SYS_DUP3, slave.Result(), spawn.Int(i), spawn.Int(0))
	}
	return sealed(t, s, script), master
}

// expect reads from f until it has seen want.
func expect(t *testing.T, f *os.File, want string) (got string) {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 4096)
	for !strings.Contains(got, want) {
		n, err := f.Read(b)
		got += string(b[:n])
		if err != nil {
			t.Fatalf("read %q, want %q: %v", got, want, err)
		}
	}
	return got
}

func send(t *testing.T, f *os.File, s string) {
	t.Helper()
	if _, err := io.WriteString(f, s); err != nil {
		t.Fatal(err)
	}
}

func TestStdinReachesTheProcessAndEnds(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; echo end"), OpenStdin: true, StdinOnce: true,
		Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true, Preread: []byte("early ")}}})
	send(t, mine, "and late\n")
	expect(t, mine, "early and late\n")
	closeWrite(mine)
	if got := readAll(t, mine); got != "end\n" {
		t.Errorf("after the end of input: %q", got)
	}
	b.exit()
}

func TestNoStdinIsEmpty(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; exit 4")})
	if e := b.exit(); e.Code != 4 {
		t.Errorf("%+v", e)
	}
}

func TestStdinStaysOpenForTheNextClient(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; exit 5"), OpenStdin: true})
	for _, word := range []string{"one\n", "two\n"} {
		mine, theirs := pair(t)
		if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
			t.Fatal(err)
		}
		send(t, mine, word)
		expect(t, mine, word)
		closeWrite(mine)
		if rest := readAll(t, mine); rest != "" {
			t.Errorf("after detaching: %q", rest)
		}
	}
	if err := b.c.CloseStdin(b.ctx(), "c"); err != nil {
		t.Fatal(err)
	}
	if e := b.exit(); e.Code != 5 {
		t.Errorf("%+v", e)
	}
}

func TestManyClientsSeeTheSame(t *testing.T) {
	b := newBed(t)
	const clients, lines = 20, 20000
	var as []keeper.Attachment
	got := make(chan string, clients)
	for range clients {
		mine, theirs := pair(t)
		as = append(as, keeper.Attachment{Conn: theirs, Stdout: true})
		go func() { s, _ := io.ReadAll(mine); got <- string(s) }()
	}
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, fmt.Sprintf("seq %d", lines)), Log: b.logConfig("c"), Attach: as})
	b.exit()
	for range clients {
		checkNumbered(t, <-got, lines)
	}
	checkNumbered(t, b.logged("c", "stdout"), lines)
}

// TestStuckClient shows that a client who does not read stops its own container,
// loses nothing, and disturbs nobody else.
func TestStuckClient(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	const lines = 300000
	done := filepath.Join(b.root, "done")
	b.spawn(keeper.SpawnRequest{ID: "stuck", Plan: shell(t, fmt.Sprintf("seq %d; : > %s", lines, done)), Log: b.logConfig("stuck"),
		Attach: []keeper.Attachment{{Conn: theirs, Stdout: true}}})
	for i := range 3 {
		b.spawn(keeper.SpawnRequest{ID: fmt.Sprint("c", i), Plan: shell(t, "seq 100000"), Log: b.logConfig(fmt.Sprint("c", i))})
		if e := b.exit(); e.ID != fmt.Sprint("c", i) {
			t.Errorf("%+v", e)
		}
		checkNumbered(t, b.logged(fmt.Sprint("c", i), "stdout"), 100000)
	}
	if _, err := os.Stat(done); err == nil {
		t.Error("the process wrote 2 MB to a client who reads nothing")
	}
	checkNumbered(t, readAll(t, mine), lines)
	b.exit()
	checkNumbered(t, b.logged("stuck", "stdout"), lines)
}

// TestExitDoesNotWaitForASlowClient has an exit reported while a client still has
// all the output before it; and that client then gets all.
func TestExitDoesNotWaitForASlowClient(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "seq 10000; exit 9"), Attach: []keeper.Attachment{{Conn: theirs, Stdout: true}}})
	if e := b.exit(); e.Code != 9 {
		t.Errorf("%+v", e)
	}
	checkNumbered(t, readAll(t, mine), 10000)
}

func TestClientThatLeavesDisturbsNobody(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	stay, theirStay := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "read x; seq 50000"), OpenStdin: true,
		Attach: []keeper.Attachment{{Conn: theirs, Stdout: true}, {Conn: theirStay, Stdin: true, Stdout: true}}})
	mine.Close()
	send(t, stay, "go\n")
	checkNumbered(t, readAll(t, stay), 50000)
	b.exit()
}

func TestTerminal(t *testing.T) {
	b := newBed(t)
	plan, master := terminal(t, "stty size; read x; echo got $x; stty size; kill -9 $$")
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 20}); err != nil {
		t.Fatal(err)
	}
	one, theirOne := pair(t)
	two, theirTwo := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: plan, Console: master, OpenStdin: true, Log: b.logConfig("c"),
		Attach: []keeper.Attachment{{Conn: theirOne, Stdin: true, Stdout: true}, {Conn: theirTwo, Stdin: true, Stdout: true}}})
	expect(t, one, "10 20\r\n")
	if err := b.c.Resize(b.ctx(), "c", 30, 40); err != nil {
		t.Fatal(err)
	}
	send(t, two, "word\n")
	want := "word\r\ngot word\r\n30 40\r\n"
	if got := readAll(t, one); got != want {
		t.Errorf("one got %q, want %q", got, want)
	}
	if got := readAll(t, two); got != "10 20\r\n"+want {
		t.Errorf("two got %q", got)
	}
	if e := b.exit(); e.Code != 137 {
		t.Errorf("%+v", e)
	}
	if got := b.logged("c", "stdout"); got != "10 20\r\n"+want {
		t.Errorf("logged %q", got)
	}
}

func TestDetach(t *testing.T) {
	b := newBed(t)
	plan, master := terminal(t, "stty raw -echo; echo ready; cat")
	stay, theirStay := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: plan, Console: master, OpenStdin: true,
		Attach: []keeper.Attachment{{Conn: theirStay, Stdin: true, Stdout: true}}})
	expect(t, stay, "ready")
	for _, tc := range []struct {
		keys         []byte
		input, reach string
	}{
		{nil, "a\x10b\x10\x11never", "a\x10b"},
		{[]byte("xy"), "1x2xxy", "1x2x"},
	} {
		mine, theirs := pair(t)
		if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdin: true, DetachKeys: tc.keys}); err != nil {
			t.Fatal(err)
		}
		for i := range tc.input { // a byte at a time, so that the keys come divided
			send(t, mine, tc.input[i:i+1])
			if strings.HasSuffix(tc.input[:i+1], "\x10\x11") && tc.keys == nil {
				break
			}
		}
		expect(t, stay, tc.reach)
		readAll(t, mine) // the keeper closes it
	}
	if p, err := b.c.List(b.ctx()); err != nil || len(p) != 1 || p[0].Exit != nil {
		t.Errorf("%+v, %v", p, err)
	}
	b.killAll()
}

// killAll ends what the keeper holds.
func (b *bed) killAll() {
	b.t.Helper()
	held, err := b.c.List(b.ctx())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, h := range held {
		if h.Exit == nil {
			unix.PidfdSendSignal(int(h.Pidfd.Fd()), unix.SIGKILL, nil, 0)
		}
	}
	for range held {
		b.exit()
	}
}

func TestAttachToNothing(t *testing.T) {
	b := newBed(t)
	_, theirs := pair(t)
	err := b.c.Attach(b.ctx(), "nobody", keeper.Attachment{Conn: theirs, Stdout: true})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, ":")})
	e := <-b.c.Exits()
	if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdout: true}); !fault.Is(err, fault.Conflict) {
		t.Errorf("after its end: %v", err)
	}
	if err := b.c.Ack(b.ctx(), e.ID, e.Generation); err != nil {
		t.Error(err)
	}
}

// TestSpectatorDoesNotHoldUpTheProcess: who attaches later and does not read is cut off
// when it is too far behind; one that reads late, but before that, gets everything.
func TestSpectatorDoesNotHoldUpTheProcess(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "c", OpenStdin: true, Log: b.logConfig("c"),
		Plan: shell(t, "read x; for i in `seq 40000`; do echo $i; done; read x; for i in `seq 400000`; do echo 123456789; done; exit 3")})
	attach := func() *os.File {
		mine, theirs := pair(t)
		if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdout: true}); err != nil {
			t.Fatal(err)
		}
		return mine
	}
	late, never := attach(), attach()
	write, theirs := pair(t)
	if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdin: true}); err != nil {
		t.Fatal(err)
	}
	send(t, write, "go\n")
	eventually.True(t, "40000 lines", func() bool { return strings.HasSuffix(b.logged("c", "stdout"), "40000\n") })
	got := bufio.NewReader(late)
	for i := range 40000 {
		if l, err := got.ReadString('\n'); err != nil || l != fmt.Sprintln(i+1) {
			t.Fatalf("line %d of a late reader: %q, %v", i+1, l, err)
		}
	}
	send(t, write, "go\n")
	if e := b.exit(); e.Code != 3 {
		t.Errorf("exit %+v, want 3", e)
	}
	if n, _ := io.Copy(io.Discard, never); n > 3<<20 {
		t.Errorf("a client that did not read had %d bytes waiting", n)
	}
}
