package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper/jsonlog"
	"hoy/lib/cleanup"
	"hoy/lib/fault"
	"hoy/test/eventually"
)

// TestTiedToNobody: the engine may go between its request and the start, and then nothing
// ends any more what is tied to it.
func TestTiedToNobody(t *testing.T) {
	s := newServer(t.TempDir(), nil)
	c := &conn{s: s}
	s.conns[c] = struct{}{}
	if _, isNew, err := s.reserve(c, &spawnBody{ID: "before", Tied: true}); err != nil || !isNew {
		t.Errorf("%v, %v", isNew, err)
	}
	s.forget(s.procs["before"])
	s.gone(c)
	for _, id := range []string{"after", "after"} {
		if _, _, err := s.reserve(c, &spawnBody{ID: id, Tied: true}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("after its engine has gone: %v", err)
		}
	}
	if _, _, err := s.reserve(c, &spawnBody{ID: "free"}); err != nil {
		t.Errorf("what is not tied: %v", err)
	}
}

// TestConsoleOfADeadProcess: an engine hands over the terminal of a process whose end is
// just being put on record.
func TestConsoleOfADeadProcess(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	p := newProcess(newServer(t.TempDir(), nil), config{ID: "c", Terminal: true})
	p.Pid, p.flowing = 1, true
	close(p.started)
	close(p.flowed)
	p.finish()
	p.s.procs["c"] = p
	if err := p.s.handOver(&conn{s: p.s}, &adoptBody{ID: "c", HasConsole: true}, fds[:1]); err != nil {
		t.Fatal(err)
	}
	if p.stdin != nil || len(p.streams) != 0 {
		t.Error("it has a terminal again, which nobody ends")
	}
	if _, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor is still open: %v", err)
	}
}

// TestBusyKeeperIsAskedBeside: a keeper that could not be upgraded is asked again, and what
// is tied to the engine's connection does not end by that.
func TestBusyKeeperIsAskedBeside(t *testing.T) {
	root := t.TempDir()
	s := newServer(root, nil) // without listener it is too busy
	l, err := listen(filepath.Join(root, "keeper.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go s.serve(l)
	exec := filepath.Join(root, "hoy-keeper")
	if err := os.WriteFile(exec, []byte("of another build"), 0o700); err != nil {
		t.Fatal(err)
	}
	warned := 0
	c, err := Start(t.Context(), Options{Exec: exec, ExecRoot: root, Warn: func(error) { warned++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	was := c.link
	c.renewLater()
	select {
	case <-was.dead:
		t.Error("the connection has ended")
	default:
	}
	if _, err := c.List(t.Context()); err != nil || c.link != was || warned != 1 {
		t.Errorf("%v, warned %d times", err, warned)
	}
}

// TestClientThatIsLetGoIsNotListed: an engine that comes while a client is behind does not
// keep it, since nobody would tell it to let go.
func TestClientThatIsLetGoIsNotListed(t *testing.T) {
	mine, theirs := sockets(t)
	defer mine.Close()
	defer theirs.Close()
	s := newServer(t.TempDir(), nil)
	p := newProcess(s, config{ID: "c"})
	close(p.started)
	s.procs["c"] = p
	for id := range uint64(2) {
		_, end := sockets(t)
		defer end.Close()
		v, err := newViewer(p, end.f, attachBody{Client: id + 1})
		if err != nil {
			t.Fatal(err)
		}
		p.viewers = append(p.viewers, v)
	}
	p.viewers[0].letGo()
	if err := (&conn{socket: mine, s: s}).listClients(header{typ: typeList}); err != nil {
		t.Fatal(err)
	}
	msg, fds, err := theirs.receive()
	if err != nil {
		t.Fatal(err)
	}
	closeAll(fds)
	_, body, err := parse(msg)
	var r listReply
	if err != nil || json.Unmarshal(body, &r) != nil || len(fds) != 1 || len(r.Clients) != 1 || r.Clients[0].Client != 2 {
		t.Errorf("%d descriptors, %+v, %v", len(fds), r.Clients, err)
	}
}

// TestInputIsNotLookedForForEver: of a process that started, says the clock, in the future.
func TestInputIsNotLookedForForEver(t *testing.T) {
	p := newProcess(newServer(t.TempDir(), nil), config{ID: "c", OpenStdin: true})
	p.Pid, p.Input, p.StartedAt = os.Getpid(), 1, time.Now().Add(time.Hour).UnixNano()
	done := make(chan struct{})
	go func() { p.reopenInput(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("it is still being looked for")
	}
}

// TestHostilePipe: the container's end of the pipe is its own to set up. In one that is
// made longer, more small pieces wait than a look shows, and packets come one by one. They
// are logged all the same, once.
func TestHostilePipe(t *testing.T) {
	root := t.TempDir()
	s := newServer(root, nil)
	p := newProcess(s, config{ID: "c", Log: &LogConfig{Path: filepath.Join(root, "log")}})
	if err := os.Mkdir(filepath.Join(root, "io"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.child = true
	theirs, err := p.openStdio(nil, new(cleanup.Stack))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs[0].Close()
	defer theirs[1].Close()
	defer theirs[2].Close()
	if p.log, err = p.openLog(); err != nil {
		t.Fatal(err)
	}
	fd := int(theirs[1].Fd())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	go p.flow()
	const pieces = 40
	for i := range pieces {
		end := ""
		if i == pieces-1 {
			end = "\n"
		}
		if _, err := unix.Write(fd, []byte(fmt.Sprint(i%10)+end)); err != nil {
			t.Fatal(err)
		}
	}
	logged := func() (all string) {
		jsonlog.Read(t.Context(), p.logPath(), jsonlog.ReadOptions{Tail: -1}, func(e jsonlog.Entry) error {
			all += string(e.Line)
			return nil
		})
		return all
	}
	eventually.True(t, "the line", func() bool { return strings.HasSuffix(logged(), "\n") })
	p.finish()
	if got, want := logged(), strings.Repeat("0123456789", pieces/10)+"\n"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
