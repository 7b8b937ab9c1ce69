package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hoy/test/rootful"
)

// streamClient is one client that holds a stream of the engine.
type streamClient struct {
	conn net.Conn
	r    *bufio.Reader
	got  atomic.Int64 // bytes
}

// open sends a request over a connection of its own and reads the answer's head.
func (e *Engine) open(method, path string) (*streamClient, error) {
	conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://"))
	if err != nil {
		return nil, err
	}
	upgrade := ""
	if strings.Contains(path, "/attach?") {
		upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	}
	fmt.Fprintf(conn, "%s /v1.50%s HTTP/1.1\r\nHost: hoy\r\n%sContent-Length: 0\r\n\r\n", method, path, upgrade)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err == nil && answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(answer.Body)
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, b)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &streamClient{conn: conn, r: r}, nil
}

// follow reads until the stream ends.
func (c *streamClient) follow() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.r.Read(buf)
		c.got.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestTwoHundredClients holds 200 streams of logs, stats, events and attachments, a
// tenth of which never reads, while containers come and go: nobody waits for a slow
// reader, and when the clients are gone the engine is as it was. It prints what a list of
// the containers takes, beside them and without.
func TestTwoHundredClients(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--debug", "--log-level", "error")
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", counter)
	e.Hoy("run", "--rm", "busybox", "true")
	idle := size(50, 5)
	parallel(idle, 4, func(i int) {
		if r := e.Try("run", "-d", "--name", fmt.Sprint("idle", i), "busybox", "sleep", "100000"); r.Code != 0 {
			t.Error(r.Stderr)
		}
	})
	lists, n := size(300, 20), size(500, 60)
	alone := e.listings(t, func(n int) bool { return n < lists })
	t.Logf("ps, %d containers, one of which writes a line a millisecond, %s", idle+1, alone)
	churns := func(beside string) {
		t.Logf("ps %swhile a container comes and goes every 100 ms, %s", beside, e.churn(t, n/4, 1, 100*time.Millisecond))
		// These take all processors, with streams and without.
		t.Logf("ps %swhile containers come and go, 1 at a time, %s", beside, e.churn(t, n/2, 1, 0))
		t.Logf("ps %swhile containers come and go, 4 at a time, %s", beside, e.churn(t, n/2, 4, 0))
	}
	churns("")
	before := e.weigh(t)

	var clients, slow []*streamClient
	var wg sync.WaitGroup
	for i := range 200 {
		path := [...]string{"/containers/con/logs?stdout=1&follow=1&tail=10", "/containers/con/stats?stream=1", "/events",
			"/containers/con/attach?stream=1&stdout=1"}[i%4]
		method := "GET"
		if strings.Contains(path, "attach") {
			method = "POST"
		}
		c, err := e.open(method, path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		if i/4%10 == 0 {
			slow = append(slow, c)
			continue
		}
		clients = append(clients, c)
		wg.Go(c.follow)
	}
	t.Logf("ps beside 200 streams, %s", e.listings(t, func(n int) bool { return n < lists }))
	churns("beside 200 streams ")
	t.Logf("%+v before, %+v now", before, e.weigh(t))

	for i, c := range clients {
		was := c.got.Load()
		e.Eventually(fmt.Sprintf("more for client %d, who reads", i), func() bool {
			if i%4 == 2 {
				e.Hoy("run", "--rm", "busybox", "true") // for the events
			}
			return c.got.Load() > was
		})
	}
	was := strings.Count(e.Try("logs", "con").Stdout, "\n")
	e.Eventually("more output of a container whose client does not read", func() bool {
		return strings.Count(e.Try("logs", "con").Stdout, "\n") > was+100
	})
	for _, c := range append(clients, slow...) {
		c.conn.Close()
	}
	wg.Wait()
	e.Eventually("the engine is as it was", func() bool {
		now := e.weigh(t)
		return now.goroutines <= before.goroutines+10 && now.engine <= before.engine+5 && now.keeper <= before.keeper+5
	})
	// Looking at it is a request, too, and would keep it from being calm.
	was = e.pss()
	e.Eventually("the memory is given back", func() bool { return e.pss() < before.pss+10_000 })
	t.Logf("%d kB became %d", was, e.pss())
	e.Hoy(append([]string{"rm", "-f"}, strings.Fields(e.Hoy("ps", "-aq"))...)...)
}

// TestFollowAfterSilence: who follows a container that says nothing for now sees at once
// what it has said.
func TestFollowAfterSilence(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "echo before; exec sleep 100000")
	e.Eventually("its line", func() bool { return e.Try("logs", "con").Stdout == "before\n" })
	time.Sleep(1500 * time.Millisecond) // no longer news
	c, err := e.open("GET", "/containers/con/logs?stdout=1&follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	c.conn.SetDeadline(time.Now().Add(wait))
	b := make([]byte, 64)
	if n, err := c.r.Read(b); !strings.Contains(string(b[:n]), "before") {
		t.Errorf("read %q: %v", b[:n], err)
	}
}

// weight is what the engine and the keeper hold.
type weight struct {
	goroutines     int // of the engine
	engine, keeper int // descriptors
	pss            int // kB
}

func (e *Engine) weigh(t *testing.T) weight {
	t.Helper()
	r, err := e.HTTP().Get("http://hoy/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	head, err := bufio.NewReader(r.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	w := weight{pss: e.pss()}
	if _, err := fmt.Sscanf(head, "goroutine profile: total %d", &w.goroutines); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	files := func(pid int) int { es, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); return len(es) }
	w.engine, w.keeper = files(e.Pid()), files(e.KeeperPid())
	return w
}

// TestHungUpBeforeStart: of clients that attach to a container that does not run, and go
// away, the engine keeps nothing; one that stays has the output.
func TestHungUpBeforeStart(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--debug", "--log-level", "error")
	e.ImportBusybox()
	e.Hoy("create", "--name", "con", "busybox", "echo", "hello")
	before := e.weigh(t)
	attach := func() *streamClient {
		t.Helper()
		c, err := e.open("POST", "/containers/con/attach?stream=1&stdout=1")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	stays := attach()
	defer stays.conn.Close()
	for range 20 {
		attach().conn.Close()
	}
	e.Eventually("the engine has forgotten who has gone", func() bool {
		now := e.weigh(t)
		return now.engine <= before.engine+1 && now.goroutines <= before.goroutines+3
	})
	e.Hoy("start", "con")
	if out, err := io.ReadAll(stays.r); err != nil || !strings.HasSuffix(string(out), "hello\n") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestUnreadInput: a client that sends what nobody reads gets all that there is for it, and
// then its end, not a reset connection.
func TestUnreadInput(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "--name", "con", "busybox", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done")
	e.Hoy("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
	for what, c := range map[string]struct{ path, end string }{
		"what was logged":          {"/containers/con/attach?logs=1&stdout=1", "20000\n"},
		"why a command cannot run": {e.exec(t, "runs", "nosuch"), "executable file not found in $PATH\r\n"},
	} {
		conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1.50%s HTTP/1.1\r\nHost: hoy\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}", c.path)
		r := bufio.NewReader(conn)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		_, sent := io.WriteString(conn, "unread")
		conn.SetReadDeadline(time.Now().Add(wait))
		out, err := io.ReadAll(r)
		if err != nil || sent != nil || !strings.HasSuffix(string(out), c.end) {
			t.Errorf("%s: %v, %v: …%q", what, err, sent, out[max(0, len(out)-100):])
		}
	}
}

// TestAttachedToNothing: who attaches to no stream of a container is not kept waiting, as
// with dockerd.
func TestAttachedToNothing(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	for _, query := range []string{"stream=1", "stream=1&stdin=1"} {
		c, err := e.open("POST", "/containers/con/attach?"+query)
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		c.conn.SetReadDeadline(time.Now().Add(wait))
		if out, err := io.ReadAll(c.r); err != nil || len(out) > 0 {
			t.Errorf("%s: %q, %v", query, out, err)
		}
	}
	e.Hoy("run", "--rm", "-a", "stdin", "busybox", "true")
}

// TestHeadAlone: who is late to read the head of an answer finds nothing but the head:
// docker-py reads it through a buffer and loses what else is in there.
func TestHeadAlone(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sh", "-c", "echo hello; sleep 1000")
	e.Eventually("the output", func() bool { return e.Hoy("logs", "con") == "hello" })
	for what, path := range map[string]string{
		"a command":                e.exec(t, "con", "echo", "hello"),
		"why a command cannot run": e.exec(t, "con", "/nosuch"),
		"what was logged":          "/containers/con/attach?logs=1&stream=1&stdout=1",
	} {
		conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1.50%s HTTP/1.1\r\nHost: hoy\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}", path)
		time.Sleep(200 * time.Millisecond) // a slow client, longer than what it asks for takes
		head := make([]byte, 8<<10)
		n, err := conn.Read(head)
		if err != nil || !strings.HasSuffix(string(head[:n]), "\r\n\r\n") {
			t.Errorf("%s: read %q (%v)", what, head[:n], err)
		}
		if n, err := conn.Read(head); err != nil || n <= 8 {
			t.Errorf("%s: the stream has %q (%v)", what, head[:n], err)
		}
	}
}

// exec makes an exec in a container and returns the path that starts it.
func (e *Engine) exec(t *testing.T, con string, args ...string) string {
	t.Helper()
	asked, err := json.Marshal(map[string]any{"AttachStdin": true, "AttachStdout": true, "Cmd": args})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := e.HTTP().Post("http://hoy/containers/"+con+"/exec", "application/json", bytes.NewReader(asked))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.ID == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return "/exec/" + made.ID + "/start"
}

// TestResizeWithoutTerminal is no error, as with dockerd: dockerode's users do not look first.
func TestResizeWithoutTerminal(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "busybox", "sleep", "1000")
	start := e.exec(t, "con", "sleep", "1000")
	resp, err := e.HTTP().Post("http://hoy"+start, "application/json", strings.NewReader(`{"Detach":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, path := range []string{"/containers/con", strings.TrimSuffix(start, "/start")} {
		resp, err := e.HTTP().Post("http://hoy"+path+"/resize?h=10&w=10", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// TestAskedAfter: who reads a container's output to the end may ask how it has ended, also if
// it is removed at its end; but not for long, and who waits for the removal does not wait for
// that.
func TestAskedAfter(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	read := func() {
		t.Helper()
		c, err := e.open("POST", "/containers/con/attach?stream=1&stdout=1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		e.Hoy("start", "con")
		if out, err := io.ReadAll(c.r); err != nil || !strings.HasSuffix(string(out), "hello\n") {
			t.Errorf("%q, %v", out, err)
		}
	}
	for _, volumes := range [][]string{nil, {"-v", "/data"}} {
		e.Hoy(slices.Concat([]string{"create", "--rm", "--name", "con"}, volumes, []string{"busybox", "sh", "-c", "echo hello; exit 3"})...)
		read()
		if r := e.Try("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "con"); r.Stdout != "exited 3\n" {
			t.Errorf("asked after its end: %+v", r)
		}
		e.Eventually("its removal", func() bool { return e.Try("inspect", "con").Code != 0 })
		if left := e.Hoy("volume", "ls", "-q"); left != "" {
			t.Errorf("its volume is left: %s", left)
		}
	}

	for when, end := range map[string]func(){
		"before it ran":     func() {},
		"as it ended":       read,
		"before it removed": func() { read(); e.Hoy("wait", "con") },
	} {
		e.Hoy("create", "--rm", "--name", "con", "busybox", "sh", "-c", "echo hello")
		end()
		e.Kill()
		e.Up()
		if r := e.Try("inspect", "-f", "{{json .State}}", "con"); r.Code == 0 {
			t.Errorf("an engine that was killed %s has left it: %s", when, r.Stdout)
			e.Hoy("rm", "con")
		}
	}

	e.Hoy("run", "--rm", "--name", "con", "busybox", "true")
	if r := e.Try("inspect", "con"); r.Code == 0 {
		t.Errorf("there after its removal was waited for:\n%s", r.Stdout)
	}
}
