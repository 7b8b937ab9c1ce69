package keeper

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hoy/keeper/jsonlog"
	"hoy/keeper/ship"
	"hoy/test/eventually"
)

// target is a syslog at a socket, which keeps what comes.
type target struct {
	mu    sync.Mutex
	lines []string
}

func newTarget(t *testing.T, path string) *target {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &target{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				for s := bufio.NewScanner(c); s.Scan(); {
					_, text, _ := strings.Cut(s.Text(), ": ")
					g.mu.Lock()
					g.lines = append(g.lines, text)
					g.mu.Unlock()
				}
			}()
		}
	}()
	return g
}

func (g *target) got() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.lines, " ")
}

// shipping is a process whose log goes to the socket.
func shipping(t *testing.T, s *server, socket, path string, generation uint64) *process {
	t.Helper()
	p := newProcess(s, config{ID: "c", Generation: generation, Log: &LogConfig{Driver: "syslog", Path: path,
		Ship: &ship.Config{Driver: "syslog", Tag: "c", Options: map[string]string{"syslog-address": "unix://" + socket}}}})
	if err := os.MkdirAll(p.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func openTestLog(t *testing.T, p *process) *logger {
	t.Helper()
	l, err := p.openLog()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// put logs lines at once, as they come from a pipe.
func (l *logger) put(lines string) {
	l.write(&work{}, &journalEntry{}, lines[0], jsonlog.Stdout, []byte(lines), false)
}

func (g *target) expect(t *testing.T, want string) {
	t.Helper()
	eventually.True(t, fmt.Sprintf("%.100q at the target", want), func() bool { return g.got() == want })
}

// TestShippingGoesOn: who takes over from a keeper that died with lines that were not sent
// sends them: in the middle of what was logged at once, and when nothing was sent yet.
func TestShippingGoesOn(t *testing.T) {
	for sent := range 4 {
		t.Run(fmt.Sprint(sent, " sent"), func(t *testing.T) {
			root := t.TempDir()
			socket, path := filepath.Join(root, "s"), filepath.Join(root, "json.log")
			if err := os.WriteFile(path, []byte(`{"log":"of an earlier start\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}`+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			g := newTarget(t, socket)
			p := shipping(t, newServer(root, nil), socket, path, 1)
			s, r, err := newShipper(markPath(root, "c"), "c", path, p.config.Log, &p.s.leaving)
			if err != nil {
				t.Fatal(err)
			}
			w, err := jsonlog.Append(jsonlog.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			for _, lines := range []string{"1\n2\n", "3\n4\n"} {
				if err := w.Write(jsonlog.Stdout, []byte(lines), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			died := fmt.Errorf("killed")
			n := 0
			one := s.undealt()
			if r.Run(t.Context(), func(e jsonlog.Entry) error {
				if n++; n > sent {
					return died
				}
				return one(e)
			}) != died {
				t.Fatal("it has not died")
			}
			g.expect(t, "1 2 3 4"[:max(2*sent-1, 0)])
			l := openTestLog(t, p)
			l.put("5\n")
			g.expect(t, "1 2 3 4 5")
			l.close()
			<-l.ship.done
		})
	}
}

// TestShippingEndsWithTheProcess: what is sent late, after the process has ended and been
// started again, is sent once.
func TestShippingEndsWithTheProcess(t *testing.T) {
	root := t.TempDir()
	socket, path := filepath.Join(root, "s"), filepath.Join(root, "json.log")
	s := newServer(root, nil)
	p := shipping(t, s, socket, path, 1)
	first := openTestLog(t, p)
	first.put("1\n")
	first.close()
	p.removeFiles()
	if s.leaving.Load() == 0 {
		t.Error("an upgrade would not wait for it")
	}
	second := openTestLog(t, shipping(t, s, socket, path, 2))
	second.put("2\n")
	g := newTarget(t, socket)
	<-first.ship.done
	second.close()
	<-second.ship.done
	eventually.True(t, "both lines at the target, each once", func() bool { return len(g.got()) == len("1 2") })
	if got := g.got(); got != "1 2" && got != "2 1" {
		t.Errorf("the target has %q", got)
	}
	eventually.True(t, "nothing to wait for", func() bool { return s.leaving.Load() == 0 })
}

// TestShippingAfterTheLogIsGone: a log that is only a buffer is removed with the process,
// and what was not sent is sent all the same, though it is in several files.
func TestShippingAfterTheLogIsGone(t *testing.T) {
	root := t.TempDir()
	socket := filepath.Join(root, "s")
	p := shipping(t, newServer(root, nil), socket, "", 1)
	p.config.Log.MaxSize, p.config.Log.MaxFile = 300, 4
	l := openTestLog(t, p)
	for i := range 4 { // some two to a file
		l.put(fmt.Sprintln(i, strings.Repeat("x", 80)))
	}
	l.close()
	p.removeFiles()
	g := newTarget(t, socket)
	<-l.ship.done
	x := " " + strings.Repeat("x", 80)
	g.expect(t, "0"+x+" 1"+x+" 2"+x+" 3"+x)
}

// TestLostOutputIsNotWaitedFor: what could not be written into the log does not count as
// what the target is behind.
func TestLostOutputIsNotWaitedFor(t *testing.T) {
	root := t.TempDir()
	l := openTestLog(t, shipping(t, newServer(root, nil), filepath.Join(root, "s"), filepath.Join(root, "json.log"), 1))
	l.w.Close()
	l.put("lost\n")
	if n := l.ship.logged.Load() - l.ship.read; n != 0 {
		t.Errorf("%d bytes wait that are nowhere", n)
	}
	l.ship.end()
	<-l.ship.done
}
