package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestRunPassesStreamsAndCode(t *testing.T) {
	f := newFake(t)
	f.container(func(c net.Conn, in io.Reader) int {
		b, _ := io.ReadAll(in) // ends when our input ends
		c.Write(frame(1, "out:"+string(b)))
		c.Write(frame(2, "err"))
		return 7
	})
	code, out, errs := f.hoy("hello", "run", "-i", "img", "cmd", "--flag", "-x")
	if code != 7 || out != "out:hello" || errs != "err" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestRunAsksInOrder(t *testing.T) {
	f := newFake(t)
	f.container(func(net.Conn, io.Reader) int { return 0 })
	if code, _, errs := f.hoy("", "run", "--rm", "--name", "x", "img"); code != 0 {
		t.Fatal(code, errs)
	}
	a := f.asked()
	if len(a) != 4 || !strings.HasPrefix(a[0], "POST /v1.56/containers/create?name=x") || !strings.HasSuffix(a[3], "/c0ffee/start") {
		t.Errorf("asked %q: want create, attach and wait in any order, start", a)
	}
	if !slices.ContainsFunc(a, func(s string) bool { return strings.HasSuffix(s, "/wait?condition=removed") }) {
		t.Errorf("asked %q: --rm waits for the removal", a)
	}
}

func TestRunDetached(t *testing.T) {
	f := newFake(t)
	f.container(nil)
	id := filepath.Join(t.TempDir(), "id")
	code, out, _ := f.hoy("", "run", "-d", "--cidfile", id, "img")
	if code != 0 || out != "c0ffee\n" {
		t.Errorf("code %d, stdout %q", code, out)
	}
	if b, _ := os.ReadFile(id); string(b) != "c0ffee" {
		t.Errorf("id file holds %q", b)
	}
	code, _, errs := f.hoy("", "run", "-d", "--cidfile", id, "img")
	if code != 125 || !strings.Contains(errs, "container ID file found") {
		t.Errorf("code %d, stderr %q: an id file is not overwritten", code, errs)
	}
}

func TestRunFailures(t *testing.T) {
	for _, c := range []struct {
		name, create, start string
		status, code        int
		want                string
	}{
		{"image missing", "No such image: nope:latest", "", 404, 125, "Unable to find image 'nope:latest' locally\nhoy: Error response from daemon: no registry\n"},
		{"name in use", `Conflict. The container name "/x" is already in use`, "", 409, 125, "hoy: Error response from daemon: Conflict. The container name \"/x\" is already in use\n"},
		{"not found", "", `exec: "x": executable file not found in $PATH`, 400, 127, "hoy: Error response from daemon: exec: \"x\": executable file not found in $PATH\n"},
		{"not executable", "", `exec: "/etc": permission denied`, 400, 126, "hoy: Error response from daemon: exec: \"/etc\": permission denied\n"},
		{"engine", "", "out of memory", 500, 125, "hoy: Error response from daemon: out of memory\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.json("GET /info", 200, map[string]any{})
			f.refuse("POST /images/create", 500, "no registry")
			if c.create != "" {
				f.refuse("POST /containers/create", c.status, c.create)
			} else {
				f.json("POST /containers/create", 201, map[string]any{"Id": "c0ffee"})
				f.refuse("POST /containers/c0ffee/start", c.status, c.start)
			}
			id := ""
			if c.start != "" {
				id = "c0ffee\n"
			}
			code, out, errs := f.hoy("", "run", "-d", "nope")
			if code != c.code || out != id || errs != c.want {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", code, out, errs, c.code, id, c.want)
			}
		})
	}
}

// closed is an output that nobody reads any more.
type closed struct{}

func (closed) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}
}

func TestRunEndsWhenNobodyReads(t *testing.T) {
	f := newFake(t)
	f.container(func(c net.Conn, _ io.Reader) int {
		for {
			if _, err := c.Write(frame(1, "y\n")); err != nil {
				return 0
			}
		}
	})
	code := Main([]string{"-H", "unix://" + f.socket, "run", "img"}, Streams{In: strings.NewReader(""), Out: closed{}, Err: io.Discard})
	if code != codePipe {
		t.Errorf("code %d, want %d", code, codePipe)
	}
}

func TestWaitSurvivesRestart(t *testing.T) {
	f := newFake(t)
	var asked atomic.Int32
	first := make(chan struct{})
	f.mux.HandleFunc("POST /containers/x/wait", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		if asked.Add(1) == 1 {
			close(first)
			<-r.Context().Done()
			return
		}
		json.NewEncoder(w).Encode(map[string]int{"StatusCode": 3})
	})
	go func() { <-first; f.restart() }()
	code, out, errs := f.hoy("", "wait", "x")
	if code != 0 || out != "3\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestEventsSurviveRestart(t *testing.T) {
	f := newFake(t)
	var asked atomic.Int32
	f.mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		e := json.NewEncoder(w)
		if asked.Add(1) == 1 {
			e.Encode(map[string]any{"Type": "container", "Action": "start", "Actor": map[string]any{"ID": "a"}, "timeNano": 5_000_000_007})
			w.(http.Flusher).Flush()
			go f.restart()
			<-r.Context().Done()
			return
		}
		if got := r.URL.Query().Get("since"); got != "5.000000008" {
			t.Errorf("asked again since %q, want just after the last event", got)
		}
		e.Encode(map[string]any{"Type": "container", "Action": "die", "Actor": map[string]any{"ID": "a"}, "timeNano": 6_000_000_000})
	})
	_, out, _ := f.hoy("", "events", "--until", "2100-01-01", "--format", "{{.Action}} {{.Actor.ID}}")
	if out != "start a\ndie a\n" {
		t.Errorf("stdout %q", out)
	}
}

func TestLogsFollowSurvivesRestart(t *testing.T) {
	f := newFake(t)
	var asked atomic.Int32
	const one, two = "2026-01-02T00:00:00.000000001Z one\n", "2026-01-02T00:00:00.000000002Z two\n"
	f.mux.HandleFunc("GET /containers/x/logs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
		if asked.Add(1) == 1 {
			w.Write(slices.Concat(frame(1, one), frame(1, two)))
			w.(http.Flusher).Flush()
			go f.restart()
			<-r.Context().Done()
			return
		}
		if got := r.URL.Query().Get("since"); got != "1767312000.000000002" {
			t.Errorf("asked again since %q", got)
		}
		// Two lines of one time: the first was shown already.
		w.Write(slices.Concat(frame(1, two), frame(1, strings.Replace(two, "two", "three", 1))))
	})
	_, out, errs := f.hoy("", "logs", "-f", "x")
	if out != "one\ntwo\nthree\n" {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
}

func TestExecCode(t *testing.T) {
	f := newFake(t)
	f.json("POST /containers/x/exec", 201, map[string]string{"Id": "e1"})
	f.streams("POST /exec/e1/start", false, func(c net.Conn, _ io.Reader) { c.Write(frame(1, "hi")) })
	var asked atomic.Int32
	f.mux.HandleFunc("GET /exec/e1/json", func(w http.ResponseWriter, _ *http.Request) {
		// The engine hears of the exit a little later than we of the output's end.
		if asked.Add(1) < 3 {
			io.WriteString(w, `{"Running":true,"ExitCode":null}`)
			return
		}
		io.WriteString(w, `{"Running":false,"ExitCode":42}`)
	})
	if code, out, errs := f.hoy("", "exec", "x", "sh", "-c", "echo"); code != 42 || out != "hi" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestOlderEngine(t *testing.T) {
	f := newFake(t)
	var asks []string
	f.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks = append(asks, r.URL.Path)
		if !strings.HasPrefix(r.URL.Path, "/v1.47/") {
			w.WriteHeader(400)
			io.WriteString(w, `{"message":"client version 1.56 is too new. Maximum supported API version is 1.47"}`)
			return
		}
		io.WriteString(w, "[]")
	})
	if code, out, errs := f.hoy("", "ps", "-q"); code != 0 || out != "" {
		t.Errorf("code %d, stdout %q, stderr %q, asked %q", code, out, errs, asks)
	}
}

func TestCommandErrors(t *testing.T) {
	f := newFake(t)
	f.refuse("GET /containers/nope/json", 404, "No such container: nope")
	f.refuse("DELETE /containers/nope", 404, "No such container: nope")
	f.json("GET /containers/json", 200, []any{})
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"buildx bake", 1, "hoy: 'buildx bake' is not built yet\n"},
		{"rnu", 1, "hoy: 'rnu' is not a hoy command: did you mean 'run', 'rm', 'rmi'?\nSee 'hoy --help'.\n"},
		{"image lst", 1, "hoy: 'image lst' is not a hoy command: did you mean 'ls'?\nSee 'hoy image --help'.\n"},
		{"ps --nope", 125, "hoy: unknown flag: --nope\nSee 'hoy ps --help'.\n"},
		{"run", 1, "hoy: 'hoy run' requires at least 1 argument\n\nUsage:  hoy run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'hoy run --help'.\n"},
		{"run -p 99999:80 x", 125, "hoy: invalid argument \"99999:80\" for \"-p, --publish\" flag: invalid hostPort: \"99999\" in \"99999:80\": write [[ip:]host-port:]port[/protocol], like 8080:80 or 127.0.0.1:5353:53/udp\nSee 'hoy run --help'.\n"},
		{"run -m lots x", 125, "hoy: invalid argument \"lots\" for \"-m, --memory\" flag: \"lots\" is no size: write a number and a unit, like 512m or 2g\nSee 'hoy run --help'.\n"},
		{"run --cpu-count 2 x", 125, "hoy: invalid argument \"2\" for \"--cpu-count\" flag: option is of Windows: use --cpus\nSee 'hoy run --help'.\n"},
		{"run -it x", 1, "hoy: the input device is not a TTY: cannot attach stdin to a TTY-enabled container because stdin is not a terminal; leave out -t\n"},
		{"run --rm --restart always x", 125, "hoy: conflicting options: cannot specify both --restart and --rm\nSee 'hoy run --help'.\n"},
		{"attach nope", 1, "Error response from daemon: No such container: nope\n"},
		{"rm nope", 1, "Error response from daemon: No such container: nope\n"},
		{"rm -f nope", 0, "Error response from daemon: No such container: nope\n"},
		{"logs --since yesterday x", 1, "hoy: invalid value for \"since\": \"yesterday\" is no time: write one like 2026-01-02T13:23:37Z, a while ago like 42m, or seconds since 1970\nSee 'hoy logs --help'.\n"},
		{"ps --format {{.Nope", 1, "hoy: template parsing error: template: :1: unclosed action\n"},
	} {
		code, _, errs := f.hoy("", strings.Fields(c.line)...)
		if code != c.code || errs != c.want {
			t.Errorf("hoy %s: code %d, stderr\n%s\nwant %d\n%s", c.line, code, errs, c.code, c.want)
		}
	}
}

func TestNoEngine(t *testing.T) {
	var e strings.Builder
	code := Main([]string{"-H", "unix:///nowhere/s", "ps"}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: &e})
	if code != 1 || !strings.HasPrefix(e.String(), "Cannot connect to the Docker daemon at unix:///nowhere/s.") {
		t.Errorf("code %d, stderr %q", code, e.String())
	}
}

// TestAttachEnded attaches again to a container whose output has ended, and it ends before
// that: nobody tells the new stream.
func TestAttachEnded(t *testing.T) {
	f := newFake(t)
	running := make(chan bool, 3)
	running <- true // seen by attach
	running <- true // after its first stream has begun
	running <- true // before the second
	ended := make(chan struct{})
	f.mux.HandleFunc("GET /containers/c/json", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-running:
			io.WriteString(w, `{"Id":"c","State":{"Running":true},"Config":{},"HostConfig":{}}`)
		default:
			io.WriteString(w, `{"Id":"c","State":{"Running":false},"Config":{},"HostConfig":{}}`)
		}
	})
	f.mux.HandleFunc("POST /containers/c/wait", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-ended
		io.WriteString(w, `{"StatusCode":6}`)
	})
	first := true
	f.streams("POST /containers/c/attach", false, func(c net.Conn, in io.Reader) {
		if first {
			first = false
			return
		}
		close(ended)
		io.Copy(io.Discard, in)
	})
	if code, _, errs := f.hoy("", "attach", "c"); code != 6 {
		t.Errorf("code %d, want that of the container, 6: %s", code, errs)
	}
}

// TestOldStreams runs with an API version whose engine calls all output raw.
func TestOldStreams(t *testing.T) {
	t.Setenv("DOCKER_API_VERSION", "1.41")
	f := newFake(t)
	f.version = "1.41"
	ended := make(chan struct{})
	f.json("POST /containers/create", 201, map[string]any{"Id": "c0ffee"})
	f.streams("POST /containers/c0ffee/attach", true, func(c net.Conn, in io.Reader) {
		c.Write(frame(1, "out\n"))
		close(ended)
	})
	f.mux.HandleFunc("POST /containers/c0ffee/wait", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-ended
		io.WriteString(w, `{"StatusCode":0}`)
	})
	f.json("POST /containers/c0ffee/start", 204, nil)
	if code, out, errs := f.hoy("", "run", "x"); code != 0 || out != "out\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
	}
}

// TestAPIVersion asks by the version that the user has said, and by no other.
func TestAPIVersion(t *testing.T) {
	f := newFake(t)
	f.version = "1.99"
	f.refuse("GET /containers/json", 400, "client version 1.99 is too new. Maximum supported API version is 1.56")
	t.Setenv("DOCKER_API_VERSION", "1.99")
	if code, _, errs := f.hoy("", "ps"); code != 1 || !strings.Contains(errs, "too new") || len(f.asked()) != 1 {
		t.Errorf("code %d, stderr %q, asked %q", code, errs, f.asked())
	}
	t.Setenv("DOCKER_API_VERSION", "new")
	if code, _, errs := f.hoy("", "ps"); code != 1 || errs != "hoy: invalid API version \"new\": write one like 1.56\n" {
		t.Errorf("code %d, stderr %q", code, errs)
	}
}
