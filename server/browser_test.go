package server

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestWebPagesAreRefused has a browser send what pages of others may have it send, and
// what programs send that are no browsers.
func TestWebPagesAreRefused(t *testing.T) {
	_, s := serve(t, &backend{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) // until the test's server ends
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	for _, c := range []struct {
		what, host string
		header     []string
		want       int
	}{
		{"a program", "", nil, 200},
		{"a program that names the engine's machine", "docker.example.com", nil, 200},
		{"a page's form or script", "", []string{"Origin", "http://evil.example.com"}, 403},
		{"a page of a file or a frame", "", []string{"Origin", "null"}, 403},
		{"a page of another server here", "", []string{"Origin", "http://localhost:3000"}, 403},
		{"a page's image", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a page whose name has become ours", "evil.example.com:" + port, []string{"Origin", "http://evil.example.com:" + port}, 403},
		{"the same, which only reads", "evil.example.com:" + port, []string{"Accept-Language", "en"}, 403},
		{"typed by the user", "localhost:" + port, []string{"Accept-Language", "en", "Sec-Fetch-Site", "none"}, 200},
		{"a client of websockets", address, []string{"Origin", "http://" + address}, 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/v1.56/containers/abc/start", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == 200 {
			r.Method, r.URL.Path = "GET", "/_ping"
		}
		r.Host = c.host
		for i := 0; i < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.what, resp.StatusCode, c.want)
		}
	}
}

// TestSocketHasNoBrowsers asks over a unix socket, as clients do that send an origin.
func TestSocketHasNoBrowsers(t *testing.T) {
	socket, _ := serve(t, &backend{})
	if resp, body := call(t, socket, "GET", "/_ping", nil, "Origin", "http://evil.example.com"); resp.StatusCode != 200 || !strings.Contains(body, "OK") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
