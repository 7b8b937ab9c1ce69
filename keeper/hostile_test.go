package keeper_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/linux/spawn"
	"hoy/test/eventually"
)

// dial connects to the keeper as an engine does.
func (b *bed) dial() *os.File {
	b.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	dir, err := os.Open(b.o.ExecRoot)
	if err != nil {
		b.t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/keeper.sock", dir.Fd())}); err != nil {
		b.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "engine")
	b.t.Cleanup(func() { f.Close() })
	return f
}

func datagram(version, typ uint16, body string) []byte {
	b := append([]byte("HOYK"), make([]byte, 20)...)
	binary.LittleEndian.PutUint16(b[4:], version)
	binary.LittleEndian.PutUint16(b[6:], typ)
	binary.LittleEndian.PutUint64(b[8:], 5)
	binary.LittleEndian.PutUint32(b[20:], uint32(len(body)))
	return append(b, body...)
}

func TestOtherVersionGetsOneClearLine(t *testing.T) {
	b := newBed(t)
	f := b.dial()
	if _, err := f.Write(datagram(7, 1, "{}")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	f.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := f.Read(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HOYK\x03\x00", "speaks version 7 of the keeper's protocol, this one version 3"} {
		if !strings.Contains(string(got[:n]), want) {
			t.Errorf("%q lacks %q", got[:n], want)
		}
	}
}

func TestHostileDatagrams(t *testing.T) {
	b := newBed(t)
	mine, theirs := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat"), OpenStdin: true, StdinOnce: true,
		Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := b.nulls()
	many := make([]int, 253)
	for i := range many {
		many[i] = int(null.Fd())
	}
	for _, msg := range [][]byte{
		{0}, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xff}, 100<<10), bytes.Repeat([]byte("x"), 90<<10),
		datagram(3, 3, "{"), datagram(3, 3, `{"id":"../../x","files":-1}`), datagram(3, 3, `{"id":"x","files":252}`),
		datagram(3, 3, `{"id":"x","files":251,"attach":[{}]}`), datagram(3, 4, `{"id":"c"}`), datagram(3, 2, `{"id":"c","pidfd":true,"console":true,"stdin":true}`),
		datagram(3, 5, `{"id":"c","rows":65536}`), datagram(3, 0xffff, `{}`), datagram(3, 3, strings.Repeat("[", 90<<10)),
	} {
		for _, fds := range [][]int{nil, many[:1], many} {
			f := b.dial()
			var oob []byte
			if fds != nil {
				oob = unix.UnixRights(fds...)
			}
			if err := unix.Sendmsg(int(f.Fd()), msg, oob, nil, unix.MSG_NOSIGNAL); err != nil && err != unix.EMSGSIZE {
				t.Errorf("%.30q: %v", msg, err)
			}
			f.SetReadDeadline(time.Now().Add(10 * time.Second))
			f.Read(make([]byte, 4096)) // an answer, or the end
			f.Close()
		}
	}
	send(t, mine, "still there\n")
	expect(t, mine, "still there\n")
	closeWrite(mine)
	b.exit()
	eventually.True(t, "the keeper to have closed what it was sent", func() bool { return b.nulls() <= before })
}

// nulls is how many descriptors of /dev/null the keeper has.
func (b *bed) nulls() (n int) {
	pid, err := b.pid()
	if err != nil {
		b.t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	es, err := os.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range es {
		if to, _ := os.Readlink(filepath.Join(dir, e.Name())); to == os.DevNull {
			n++
		}
	}
	return n
}

func TestExposedPlan(t *testing.T) {
	b := newBed(t)
	s := spawn.New()
	s.Call("close", "descriptors", unix.SYS_CLOSE_RANGE, spawn.Int(3), spawn.Uint(1<<31), spawn.Int(unix.CLOSE_RANGE_CLOEXEC))
	s.Birth()
	s.Call("exec", "/bin/busybox", unix.SYS_EXECVE, s.Str("/bin/busybox"), s.Strings([]string{"busybox", "sh", "-c", "exit 8"}), s.Strings(nil))
	s.SetClone(spawn.Clone{Exposed: true})
	plan, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	for i := range 3 {
		b.spawn(keeper.SpawnRequest{ID: fmt.Sprint("c", i), Plan: plan})
		if e := b.exit(); e.Code != 8 {
			t.Errorf("%+v", e)
		}
	}
}

// TestMemory prints what the keeper takes, by itself and for each process.
func TestMemory(t *testing.T) {
	b := newBed(t)
	pid, err := b.pid()
	if err != nil {
		t.Fatal(err)
	}
	pss := func() (kB int) {
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(s), "\nPss:")
		fmt.Sscan(rest, &kB)
		return kB
	}
	idle := pss()
	const n = 100
	start := time.Now()
	for i := range n {
		id := fmt.Sprint("c", i)
		b.spawn(keeper.SpawnRequest{ID: id, Plan: shell(t, "echo hello; exec sleep 1000"), Log: b.logConfig(id)})
	}
	took := time.Since(start)
	for i := range n {
		eventually.True(t, "the log", func() bool {
			fi, err := os.Stat(filepath.Join(b.root, fmt.Sprint("c", i, "-json.log")))
			return err == nil && fi.Size() > 0
		})
	}
	held := pss()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		held = min(held, pss()) // it tidies up a while after the work
	}
	t.Logf("keeper: %d kB idle, %d kB with %d processes: %.1f kB each; %v a spawn", idle, held, n, float64(held-idle)/n, took/n)
	b.killAll()
}

// TestPackets: a container may set its output so that each write stays one piece,
// of which what a read leaves is lost (pipe(2), O_DIRECT). Nothing is.
func TestPackets(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "read x"), OpenStdin: true, Log: b.logConfig("c")})
	mine, theirs := pair(t)
	if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdout: true}); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(b.o.ExecRoot, "io", "c", "1")
	packets, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	if _, err := unix.FcntlInt(packets.Fd(), unix.F_SETFL, unix.O_WRONLY|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	plain, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	got, want := "", ""
	for _, round := range [][]string{{"one\ntail "}, {"of it\n"}, {"x", "y\nz", "\n"}, {"1\n2\n3", " 4\n5", "\n\n6\n"},
		{strings.Repeat("long ", 800) + "\nand", " more\n"}, {"+a line\nand half", " of one\n"}, {"+plain\nhalf", "packet\ntail", "+\n"}, {"end\nwithout"}} {
		for _, s := range round {
			f := packets
			if s, found := strings.CutPrefix(s, "+"); found {
				plain.WriteString(s)
				want += s
				continue
			}
			f.WriteString(s)
			want += s
		}
		mine.SetReadDeadline(time.Now().Add(20 * time.Second))
		for buf := make([]byte, 8192); len(got) < len(want); {
			n, err := mine.Read(buf)
			if err != nil {
				t.Fatalf("read %q, want %q: %v", got, want, err)
			}
			got += string(buf[:n])
		}
	}
	if err := b.c.CloseStdin(b.ctx(), "c"); err != nil {
		t.Fatal(err)
	}
	b.exit()
	if logged := b.logged("c", "stdout"); got != want || logged != want {
		t.Errorf("logged %q, shown %q, want %q", logged, got, want)
	}
}
