package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/jsonstream"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	c, err := New(Options{Endpoint: Endpoint{Host: "unix://" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name     string
		choice   Choice
		env      map[string]string
		want     string
		implicit bool
	}{
		{"nothing said", Choice{}, nil, "unix:///default", true},
		{"flag", Choice{Host: "tcp://1.2.3.4:5"}, map[string]string{"HOY_HOST": "unix:///h"}, "tcp://1.2.3.4:5", false},
		{"hoy's variable before docker's", Choice{}, map[string]string{"HOY_HOST": "unix:///h", "DOCKER_HOST": "unix:///d"}, "unix:///h", false},
		{"docker's variable", Choice{}, map[string]string{"DOCKER_HOST": "ssh://me@far"}, "ssh://me@far", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.choice.Getenv = func(k string) string { return c.env[k] }
			c.choice.DefaultHost, c.choice.DefaultDir = "unix:///default", dir
			e, implicit, err := c.choice.Resolve()
			if err != nil || e.Host != c.want || implicit != c.implicit {
				t.Errorf("got %q, %v, %v", e.Host, implicit, err)
			}
		})
	}
	for _, bad := range []string{"localhost", "ftp://x", "unix://"} {
		c := Choice{Host: bad, Getenv: func(string) string { return "" }}
		if _, _, err := c.Resolve(); err == nil {
			t.Errorf("the host %q is accepted", bad)
		}
	}
}

// TestContext reads a context as docker writes it.
func TestContext(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// echo -n far | sha256sum
	write("contexts/meta/512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868/meta.json", `{"Name":"far","Endpoints":{"docker":{"Host":"ssh://me@far"}}}`)
	write("config.json", `{"currentContext":"far"}`)
	c := Choice{Getenv: func(string) string { return "" }, DefaultDir: dir, DefaultHost: "unix:///default"}
	if e, implicit, err := c.Resolve(); err != nil || implicit || e.Host != "ssh://me@far" {
		t.Errorf("got %q, %v, %v", e.Host, implicit, err)
	}
	c.Context = "near"
	if _, _, err := c.Resolve(); err == nil || !strings.Contains(err.Error(), `"near"`) {
		t.Errorf("an unknown context gives %v", err)
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") })
	for range 3 {
		if err := c.Ping(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.idle) != 1 {
		t.Errorf("%d idle connections after three requests in a row", len(c.idle))
	}
}

// TestStreamedBody sends more than a chunk, and hears an early refusal.
func TestStreamedBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	refuse := false
	var got []byte
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			return
		}
		if refuse {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"message":"no archive"}`)
			return
		}
		got, _ = io.ReadAll(r.Body)
		io.WriteString(w, `{"stream":"Loaded image: a\n"}`)
	})
	var said string
	err := c.ImageLoad(context.Background(), bytes.NewReader(body), true, nil, func(m jsonstream.Message) error { said += m.Stream; return nil })
	if err != nil || !bytes.Equal(got, body) || said != "Loaded image: a\n" {
		t.Errorf("%v; %d bytes arrived, want %d; said %q", err, len(got), len(body), said)
	}
	refuse = true
	err = c.ImageLoad(context.Background(), endless{}, true, nil, nil)
	if StatusOf(err) != http.StatusBadRequest {
		t.Errorf("an early refusal gives %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestLost(t *testing.T) {
	if Lost(&Error{Status: 404}) || Lost(context.Canceled) || Lost(nil) || Lost(errors.New("x")) {
		t.Error("an answer or a cancelled request is no lost engine")
	}
	if !Lost(io.ErrUnexpectedEOF) || !Lost(&Unreachable{"h", errors.New("x")}) {
		t.Error("a broken connection is a lost engine")
	}
}

// TestHeader sends the headers of config.json, but none that HTTP needs for itself.
func TestHeader(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"HttpHeaders":{"X-Meta-Team":"core","user-agent":"else"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var variable string
	choice := Choice{ConfigDir: dir, Getenv: func(string) string { return variable }}
	header, err := choice.Header()
	if err != nil {
		t.Fatal(err)
	}
	var got http.Header
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	c, err = New(Options{Endpoint: c.endpoint, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.call(t.Context(), http.MethodGet, "/x", nil, nil, nil); err != nil || got.Get("X-Meta-Team") != "core" || !strings.HasPrefix(got.Get("User-Agent"), "hoy/") {
		t.Errorf("%v, %v", got, err)
	}
	variable = `A=1, "B=2,3"`
	if h, err := choice.Header(); err == nil {
		t.Errorf("%s: %v", variable, h)
	}
	variable = `A=1,"B=2,3"`
	if h, err := choice.Header(); err != nil || len(h) != 2 || h["A"] != "1" || h["B"] != "2,3" {
		t.Errorf("%s: %v, %v", variable, h, err)
	}
	for k, v := range map[string]string{"a b": "", "A": "1\r\nB: 2", "": "x"} {
		if _, err := New(Options{Endpoint: c.endpoint, Header: map[string]string{k: v}}); err == nil {
			t.Errorf("%q: %q is accepted", k, v)
		}
	}
}
