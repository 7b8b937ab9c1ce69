package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"hoy/client"
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

type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

func TestBadDetachKeys(t *testing.T) {
	w := wiring{in: strings.NewReader(""), tty: true, keys: "ctrl-nonsense"}
	if _, err := w.input(nil); err == nil || !strings.Contains(err.Error(), "ctrl-p,ctrl-q") {
		t.Errorf("got %v", err)
	}
}
