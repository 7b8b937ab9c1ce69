package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"hoy/test/rootful"
)

// websocket attaches to a container over a websocket.
func (e *Engine) websocket(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := websocket.NewConfig("ws://hoy/v1.50"+path, "http://hoy")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		conn.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetDeadline(time.Now().Add(wait))
	ws.PayloadType = websocket.BinaryFrame
	return ws
}

// TestAttachOverWebsocket: input and output pass, a history comes first, and an end on
// either side is one on the other.
func TestAttachOverWebsocket(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--debug", "--log-level", "error")
	e.ImportBusybox()
	before := e.weigh(t)
	for _, flags := range []string{"-i", "-it"} {
		e.Hoy("create", flags, "--name", "con", "busybox", "sh", "-c", "echo begun; while read l; do echo \"got $l\"; [ $l = end ] && exit 4; done")
		e.Hoy("start", "con")
		e.Eventually("its first line", func() bool { return strings.Contains(e.Try("logs", "con").Stdout, "begun") })
		ws := e.websocket(t, "/containers/con/attach/ws?stream=1&stdin=1&stdout=1&logs=1")
		out := bufio.NewReader(ws)
		expect := func(want string) {
			t.Helper()
			for {
				l, err := out.ReadString('\n')
				if err != nil {
					t.Fatalf("%s: waiting for %q: %v", flags, want, err)
				}
				if strings.TrimSpace(l) == want {
					return
				}
			}
		}
		expect("begun")
		fmt.Fprintln(ws, "one")
		expect("got one")
		// Another one that goes takes nothing with it.
		e.websocket(t, "/containers/con/attach/ws?stream=1&stdout=1").Close()
		fmt.Fprintln(ws, "end")
		expect("got end")
		if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
			t.Errorf("%s: after the end: %q, %v", flags, rest, err)
		}
		if code := e.Hoy("wait", "con"); code != "4" {
			t.Errorf("%s: exit code %s", flags, code)
		}
		e.Hoy("rm", "con")
	}
	if _, err := e.open("GET", "/containers/nobody/attach/ws?stream=1"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a container that there is not: %v", err)
	}
	e.Eventually("the engine is as it was", func() bool {
		now := e.weigh(t)
		return now.goroutines <= before.goroutines+5 && now.engine <= before.engine+3
	})
}
