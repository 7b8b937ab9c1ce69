package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/moby/term"

	"hoy/cli/terminal"
	"hoy/client"
	"hoy/test/eventually"
)

// TestDetachKeys shows that the keys end the attachment, not the container, and
// that what was typed before them arrives.
func TestDetachKeys(t *testing.T) {
	for _, c := range []struct{ name, keys, typed, arrives string }{
		{"default", "", "ls\n\x10\x11", "ls\n"},
		{"one of them", "", "a\x10b\x10\x11", "a\x10b"},
		{"chosen", "ctrl-x", "hi\x18", "hi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			got := make(chan string, 1)
			f.streams("POST /containers/x/attach", true, func(_ net.Conn, in io.Reader) {
				b, _ := io.ReadAll(in)
				got <- string(b)
			})
			cl, err := client.New(client.Options{Endpoint: client.Endpoint{Host: "unix://" + f.socket}})
			if err != nil {
				t.Fatal(err)
			}
			s, err := cl.ContainerAttach(context.Background(), "x", client.AttachOptions{Stdin: true, Stdout: true})
			if err != nil {
				t.Fatal(err)
			}
			// Keys come one by one from a terminal.
			w := wiring{in: oneByOne{strings.NewReader(c.typed)}, out: io.Discard, tty: true, keys: c.keys}
			if err := w.copy(context.Background(), s); !errors.Is(err, errDetached) {
				t.Errorf("ended with %v", err)
			}
			s.Close()
			if b := <-got; b != c.arrives {
				t.Errorf("%q arrived, want %q", b, c.arrives)
			}
		})
	}
}

// TestInputOverABrokenStream: what is typed after a stream has broken is the next stream's,
// and so is what was typed before and has found no way.
func TestInputOverABrokenStream(t *testing.T) {
	f := newFake(t)
	got := make(chan string)
	end := make(chan struct{})
	f.streams("POST /containers/x/attach", true, func(_ net.Conn, in io.Reader) {
		b := make([]byte, 100)
		for {
			n, err := in.Read(b)
			if err != nil {
				return
			}
			got <- string(b[:n])
			if <-end; strings.HasPrefix(string(b[:n]), "last") {
				return
			}
		}
	})
	cl, err := client.New(client.Options{Endpoint: client.Endpoint{Host: "unix://" + f.socket}})
	if err != nil {
		t.Fatal(err)
	}
	r, typing := io.Pipe()
	defer typing.Close()
	w := wiring{in: r, out: io.Discard, tty: true}
	for range 3 {
		s, err := cl.ContainerAttach(t.Context(), "x", client.AttachOptions{Stdin: true, Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error)
		go func() { over <- w.copy(t.Context(), s) }()
		for _, word := range []string{"one", "two", "last"} {
			io.WriteString(typing, word)
			if arrived := <-got; arrived != word {
				t.Errorf("%q arrived, want %q", arrived, word)
			}
			end <- struct{}{}
		}
		if err := <-over; err != nil { // its end is where nobody has typed anything
			t.Error(err)
		}
		s.Close()
	}
}

type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

func TestBadDetachKeys(t *testing.T) {
	w := wiring{in: strings.NewReader(""), tty: true, keys: "ctrl-nonsense"}
	if _, _, err := w.input(nil); err == nil || !strings.Contains(err.Error(), "ctrl-p,ctrl-q") {
		t.Errorf("got %v", err)
	}
}

// TestCodeOfDetaching leaves containers and a command by the keys.
func TestCodeOfDetaching(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
	}{
		{"run -it x", 0}, {"start -ai c0ffee", 0}, {"attach c0ffee", 1}, {"exec -it c0ffee sh", 1},
	} {
		t.Run(c.line, func(t *testing.T) {
			f := newFake(t)
			f.json("POST /containers/create", 201, map[string]any{"Id": "c0ffee"})
			running := strings.HasPrefix(c.line, "attach")
			f.json("GET /containers/c0ffee/json", 200, map[string]any{"Id": "c0ffee", "State": map[string]any{"Running": running},
				"Config": map[string]any{"Tty": true, "OpenStdin": true}, "HostConfig": map[string]any{}})
			f.json("POST /containers/c0ffee/start", 204, nil)
			f.mux.HandleFunc("POST /containers/c0ffee/wait", func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			f.json("POST /containers/c0ffee/exec", 201, map[string]any{"Id": "e1"})
			echo := func(_ net.Conn, in io.Reader) { io.Copy(io.Discard, in) }
			f.streams("POST /containers/c0ffee/attach", true, echo)
			f.streams("POST /exec/e1/start", true, echo)
			ours, theirs, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			defer theirs.Close()
			if _, err := term.MakeRaw(theirs.Fd()); err != nil { // so that no line is waited for
				t.Fatal(err)
			}
			var out, errs strings.Builder
			go io.WriteString(ours, "\x10\x11")
			code := Main(append([]string{"-H", "unix://" + f.socket}, strings.Fields(c.line)...), Streams{In: theirs, Out: &out, Err: &errs})
			if code != c.code || errs.String() != "\r\nread escape sequence\n" {
				t.Errorf("code %d, stderr %q, want code %d", code, errs.String(), c.code)
			}
		})
	}
}

// TestSignalsPassedOn shows which signals go to a container without a terminal.
func TestSignalsPassedOn(t *testing.T) {
	f := newFake(t)
	kills := make(chan string, 100)
	f.mux.HandleFunc("POST /containers/x/kill", func(_ http.ResponseWriter, r *http.Request) { kills <- r.URL.Query().Get("signal") })
	cl, err := client.New(client.Options{Endpoint: client.Endpoint{Host: "unix://" + f.socket}})
	if err != nil {
		t.Fatal(err)
	}
	begin, stop := (&app{Streams: Streams{Err: io.Discard}}).proxy(context.Background(), cl, "x")
	defer stop()
	begin()
	var got string
	eventually.True(t, "a change of the window's size", func() bool { // caught a little later than the usual ones
		syscall.Kill(os.Getpid(), syscall.SIGWINCH)
		select {
		case got = <-kills:
			return true
		default:
			return false
		}
	})
	if got != "WINCH" {
		t.Errorf("%s was passed on, want WINCH", got)
	}
	for _, c := range []struct {
		signal syscall.Signal
		want   string
	}{{syscall.SIGUSR1, "USR1"}, {syscall.SIGPWR, "PWR"}, {syscall.Signal(37), "37"}, {syscall.SIGTSTP, "TSTP"}} {
		for len(kills) > 0 {
			<-kills
		}
		syscall.Kill(os.Getpid(), c.signal)
		for got = <-kills; got == "WINCH"; got = <-kills {
		}
		if got != c.want {
			t.Errorf("%v is passed on as %q, want %q", c.signal, got, c.want)
		}
	}
	for _, s := range []syscall.Signal{syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG} {
		if name := terminal.Forwarded(s); name != "" {
			t.Errorf("%v is passed on as %s", s, name)
		}
	}
}
