package engine

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoy/test/rootful"
)

// collector is a log server that can be away.
type collector struct {
	t     *testing.T
	at    string
	lines chan string
	l     net.Listener
	conns chan net.Conn
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	c := &collector{t: t, at: at, lines: make(chan string, 100_000), conns: make(chan net.Conn, 100)}
	t.Cleanup(c.away)
	return c
}

// come makes the collector answer; sep ends its messages.
func (c *collector) come(sep byte) {
	c.t.Helper()
	l, err := net.Listen("tcp", c.at)
	if err != nil {
		c.t.Fatal(err)
	}
	c.l = l
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.conns <- conn
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					s, err := r.ReadString(sep)
					if err != nil {
						return
					}
					c.lines <- strings.TrimSuffix(s, string(sep))
				}
			}()
		}
	}()
}

func (c *collector) away() {
	if c.l != nil {
		c.l.Close()
		c.l = nil
	}
	for {
		select {
		case conn := <-c.conns:
			conn.Close()
		default:
			return
		}
	}
}

func (c *collector) next() string {
	c.t.Helper()
	select {
	case l := <-c.lines:
		return l
	case <-time.After(wait):
		c.t.Fatal("no line came")
		return ""
	}
}

// TestLogTargetDown: a container whose log server is away runs on and can be read by
// logs; when the server comes back it gets every line, over deaths of the keeper too.
func TestLogTargetDown(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	c := newCollector(t)
	e.Hoy("run", "-d", "--name", "con", "--label", "team=sea", "--log-driver", "gelf", "--log-opt", "gelf-address=tcp://"+c.at,
		"--log-opt", "tag={{.Name}}/{{.ImageName}}", "--log-opt", "labels=team", "busybox", "sh", "-c", counter)
	lines := func() int { return strings.Count(e.Try("logs", "con").Stdout, "\n") }
	e.Eventually("output although nobody takes it", func() bool { return lines() > 100 })
	c.come(0)
	want := 0
	take := func(n int) {
		t.Helper()
		for range n {
			var m struct {
				Message string `json:"short_message"`
				Tag     string `json:"_tag"`
				Team    string `json:"_team"`
			}
			line := c.next()
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if m.Message == fmt.Sprint(want-1) {
				continue // sent, and not marked as sent when the keeper died or the server went away
			}
			if m.Message != fmt.Sprint(want) || m.Tag != "con/busybox" || m.Team != "sea" {
				t.Fatalf("line %d is %q", want, line)
			}
			want++
		}
	}
	take(200)
	e.Eventually("the count of what was sent", func() bool {
		var sent, dropped int
		fmt.Sscan(e.Hoy("inspect", "-f", "{{.LogDelivery.Sent}} {{.LogDelivery.Dropped}}", "con"), &sent, &dropped)
		return sent >= 200 && dropped == 0
	})
	crashes["keeper"](e)
	was := lines()
	e.Eventually("more output", func() bool { return lines() > was+100 })
	take(was - want)
	e.Hoy("stop", "con")
	numbered(t, e.Try("logs", "con").Stdout)
	take(lines() - want)
}

// TestLogTargetNeverComes: what does not fit into the buffer is dropped and counted,
// and nothing waits for the target: not the container, not its end, not its removal.
func TestLogTargetNeverComes(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "--name", "con", "--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:9",
		"--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=64k", "busybox", "seq", "20000")
	if got := strings.Count(e.Try("logs", "con").Stdout, "\n"); got != 20000 {
		t.Errorf("%d lines in logs, want 20000", got)
	}
	e.Eventually("the count of what was dropped", func() bool {
		b, _ := os.ReadFile(filepath.Join(e.Dir, "run", "keeper.log"))
		return strings.Contains(string(b), "lines did not reach syslog")
	})
	e.Hoy("rm", "con")
	e.Hoy("run", "--rm", "--log-driver", "fluentd", "--log-opt", "cache-disabled=true", "busybox", "echo", "hello")
}

// TestLogDriverLocal keeps its log in few, compressed files.
func TestLogDriverLocal(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "--name", "con", "--log-driver", "local", "--log-opt", "max-size=100k", "--log-opt", "max-file=4", "busybox", "seq", "10000")
	packed, _ := filepath.Glob(filepath.Join(e.Dir, "data", "containers", "*", "*.gz"))
	if len(packed) != 2 {
		t.Errorf("compressed: %q, want two files", packed)
	}
	out := strings.Fields(e.Try("logs", "con").Stdout)
	for i, l := range out {
		if l != fmt.Sprint(10000-len(out)+1+i) {
			t.Fatalf("line %d of %d is %q", i, len(out), l)
		}
	}
	if got := e.Hoy("logs", "--tail", "2", "con"); got != "9999\n10000" {
		t.Errorf("the last two lines: %q", got)
	}
}

// TestLogsNotKept: what keeps nothing here says so.
func TestLogsNotKept(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for name, flags := range map[string][]string{
		"none":  {"--log-driver", "none"},
		"cache": {"--log-driver", "fluentd", "--log-opt", "cache-disabled=true"},
	} {
		e.Hoy(append(append([]string{"run", "--name", name}, flags...), "busybox", "true")...)
		if r := e.Try("logs", name); r.Code != 1 || !strings.Contains(r.Stderr, "configured logging driver does not support reading") {
			t.Errorf("%s: code %d, %s", name, r.Code, r.Stderr)
		}
	}
}
