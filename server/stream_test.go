package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types"
	"github.com/moby/moby/client"

	"hoy/container"
	"hoy/lib/fault"
)

// upgrade sends raw bytes and reads the answer's head; the rest is the stream.
func upgrade(t *testing.T, socket, request string) (*http.Response, *bufio.Reader, net.Conn) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, r, conn
}

// echo answers on the hijacked socket with what it got, in a frame.
func echo(h container.Hijack, tty bool) error {
	s, err := h(tty)
	if err != nil {
		return err
	}
	if s.File == nil || s.Conn != nil {
		return errors.New("want the socket itself")
	}
	defer s.File.Close()
	line, err := bufio.NewReader(io.MultiReader(bytes.NewReader(s.Preread), s.File)).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.File, "\x01\x00\x00\x00\x00\x00\x00%c%s", len(line), line)
	return err
}

func TestHijackIsExact(t *testing.T) {
	b := &backend{}
	b.attach = func(o container.AttachOptions, h container.Hijack) error {
		if o != (container.AttachOptions{Stdin: true, Stdout: true, Stream: true, DetachKeys: "ctrl-x"}) {
			return fmt.Errorf("got %+v", o)
		}
		return echo(h, false)
	}
	b.exec = func(o container.ExecStartOptions, h container.Hijack) error { return echo(h, o.TTY) }
	socket, _ := serve(t, b)
	const attach = "POST /v%s/containers/a/attach?stdin=1&stdout=1&stream=1&detachKeys=ctrl-x HTTP/1.1\r\nHost: e\r\n%s\r\n"
	const exec = "POST /v1.50/exec/e/start HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: %d\r\n\r\n%s"
	ask := "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	// A client may send the stream's first bytes with the request, or later.
	for name, c := range map[string]struct {
		request, media string
		status         int
	}{
		"frames":              {fmt.Sprintf(attach, "1.42", ask), types.MediaTypeMultiplexedStream, 101},
		"frames without type": {fmt.Sprintf(attach, "1.41", ask), types.MediaTypeRawStream, 101},
		"no upgrade":          {fmt.Sprintf(attach, "1.50", ""), types.MediaTypeRawStream, 200},
		"a body besides":      {fmt.Sprintf(attach, "1.50", ask+"Content-Length: 3\r\n") + "{}\n", types.MediaTypeMultiplexedStream, 101},
		"exec":                {fmt.Sprintf(exec, 3, "{}\n"), types.MediaTypeMultiplexedStream, 101},
		"exec with terminal":  {fmt.Sprintf(exec, 12, `{"Tty":true}`), types.MediaTypeRawStream, 101},
	} {
		for _, early := range []bool{true, false} {
			t.Run(fmt.Sprint(name, early), func(t *testing.T) {
				request := c.request
				if early {
					request += "hello\n"
				}
				resp, r, conn := upgrade(t, socket, request)
				if !early {
					io.WriteString(conn, "hello\n")
				}
				if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.media || resp.Header.Get("Api-Version") != "1.56" {
					t.Errorf("got %d %v", resp.StatusCode, resp.Header)
				}
				if c.status == 101 && (resp.Status != "101 UPGRADED" || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("Upgrade") != "tcp") {
					t.Errorf("got %s %v", resp.Status, resp.Header)
				}
				rest, err := io.ReadAll(r)
				if want := "\x01\x00\x00\x00\x00\x00\x00\x06hello\n"; string(rest) != want || err != nil {
					t.Errorf("got %q, want %q (%v)", rest, want, err)
				}
			})
		}
	}
}

func TestARefusedAttachIsAnOrdinaryError(t *testing.T) {
	socket, _ := serve(t, &backend{attach: func(container.AttachOptions, container.Hijack) error { return errAbsent }})
	resp, body := call(t, socket, "POST", "/containers/a/attach", nil, "Connection", "Upgrade", "Upgrade", "tcp")
	if resp.StatusCode != 404 || body != `{"message":"No such container: x"}`+"\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// TestConnectionsWithoutSocketAreHandedOver as they are: TLS has none of its own.
func TestConnectionsWithoutSocketAreHandedOver(t *testing.T) {
	conn, peer := net.Pipe()
	defer peer.Close()
	s, err := newStream(conn, []byte("x"))
	if err != nil || s.Conn != conn || s.File != nil || string(s.Preread) != "x" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAttachByMobysClient(t *testing.T) {
	socket, _ := serve(t, &backend{attach: func(_ container.AttachOptions, h container.Hijack) error { return echo(h, false) }})
	a, err := docker(t, socket).ContainerAttach(t.Context(), "a", client.ContainerAttachOptions{Stdin: true, Stdout: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	io.WriteString(a.Conn, "hi\n")
	if media, _ := a.MediaType(); media != types.MediaTypeMultiplexedStream {
		t.Errorf("media type %s", media)
	}
	if got, err := io.ReadAll(a.Reader); string(got) != "\x01\x00\x00\x00\x00\x00\x00\x03hi\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestShutdownLeavesHijackedAlone(t *testing.T) {
	taken := make(chan *container.Stream, 1)
	b := &backend{attach: func(_ container.AttachOptions, h container.Hijack) error {
		s, err := h(true)
		taken <- s
		return err
	}}
	socket, s := serve(t, b)
	_, r, _ := upgrade(t, socket, "POST /containers/a/attach HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream := <-taken
	io.WriteString(stream.File, "still here")
	stream.File.Close()
	if got, err := io.ReadAll(r); string(got) != "still here" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLogs(t *testing.T) {
	var asked container.LogOptions
	b := &backend{logs: func(_ context.Context, o container.LogOptions, w container.LogSink) error {
		asked = o
		w.Begin(o.Details) // stands for a terminal here
		w.Write(1, []byte("out\n"))
		w.Write(2, bytes.Repeat([]byte("e"), 300))
		return w.Flush()
	}}
	socket, _ := serve(t, b)
	frames := "\x01\x00\x00\x00\x00\x00\x00\x04out\n\x02\x00\x00\x00\x00\x00\x01\x2c" + strings.Repeat("e", 300)
	for _, c := range []struct{ path, media, body string }{
		{"/v1.50/containers/a/logs?stdout=1&tail=5&since=3.25&follow=1", types.MediaTypeMultiplexedStream, frames},
		{"/v1.41/containers/a/logs?stdout=1", types.MediaTypeRawStream, frames},
		{"/v1.50/containers/a/logs?stderr=1&details=1", types.MediaTypeRawStream, "out\n" + strings.Repeat("e", 300)},
	} {
		resp, body := call(t, socket, "GET", c.path, nil)
		if got := resp.Header.Get("Content-Type"); got != c.media || body != c.body {
			t.Errorf("%s: %s %q", c.path, got, body)
		}
	}
	call(t, socket, "GET", "/containers/a/logs?stdout=1&tail=5&since=3.25&follow=1&timestamps=1", nil)
	want := container.LogOptions{Stdout: true, Follow: true, Timestamps: true, Tail: 5, Since: time.Unix(3, 250_000_000)}
	if asked != want {
		t.Errorf("asked %+v", asked)
	}
	call(t, socket, "GET", "/containers/a/logs?stdout=1&tail=all", nil)
	if asked.Tail != -1 {
		t.Errorf("tail all is %d", asked.Tail)
	}
	if resp, _ := call(t, socket, "GET", "/containers/a/logs", nil); resp.StatusCode != 400 {
		t.Errorf("no stream: %d", resp.StatusCode)
	}
}

// TestLoad streams an archive of many megabytes through.
func TestLoad(t *testing.T) {
	b := &backend{load: func(r io.Reader, o ImageLoadOptions, say Progress) error {
		n, err := io.Copy(io.Discard, r)
		if n == 0 {
			return fault.New(fault.Invalid, "empty archive")
		}
		if n != 40<<20 || !o.Quiet {
			return fmt.Errorf("got %d bytes, %+v, %w", n, o, err)
		}
		say(said("Loaded image: a\n"))
		return fault.New(fault.Conflict, "then it broke")
	}}
	socket, _ := serve(t, b)
	resp, body := call(t, socket, "POST", "/images/load", io.LimitReader(zeros{}, 40<<20), "Content-Type", "application/x-tar")
	want := `{"stream":"Loaded image: a\n"}` + "\r\n" + `{"errorDetail":{"code":409,"message":"then it broke"},"error":"then it broke"}` + "\r\n"
	if resp.StatusCode != 200 || body != want || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := call(t, socket, "POST", "/images/load", nil); resp.StatusCode != 400 || body != `{"message":"empty archive"}`+"\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestImport(t *testing.T) {
	b := &backend{imp: func(r io.Reader, o ImageImportOptions) (string, error) {
		content, _ := io.ReadAll(r)
		return fmt.Sprintf("%s %s %q %v %s/%s", content, o.Ref, o.Message, o.Changes, o.Platform.OS, o.Platform.Architecture), nil
	}}
	socket, _ := serve(t, b)
	_, body := call(t, socket, "POST", "/images/create?fromSrc=-&repo=r&tag=t&changes=ENV+a%3Db&changes=CMD+x&platform=linux/arm64", strings.NewReader("tar"))
	if want := `{"status":"tar r:t \"Imported from -\" [ENV a=b CMD x] linux/arm64"}` + "\r\n"; body != want {
		t.Errorf("got %s", body)
	}
}
