package registry

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzHeaders reads what a registry may send in headers that this package parses itself.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{`<a>; rel="next"`, "bytes 0-9/10", "bytes 5-9/*", "0-99", "120", "Fri, 02 Jan 2026 03:04:05 GMT", "https://example.com/x", "/x?y", `Bearer realm="https://example.com/token",scope="repository:x:pull"`, `Basic realm="x"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		asked := &url.URL{Scheme: "https", Host: "example.com", Path: "/v2/x/"}
		e := &endpoint{base: asked, auth: newAuthorizer(&http.Client{Transport: &persistent{}}, "example.com", nil, false)}
		res := &http.Response{StatusCode: http.StatusUnauthorized, Request: &http.Request{URL: asked}, Header: http.Header{
			"Link": {v}, "Location": {v}, "Www-Authenticate": {v}, "Range": {v}, "Retry-After": {v}, "Oci-Chunk-Min-Length": {v},
		}}
		if u, err := e.location(res); err == nil && (u.Scheme != "https" || u.Host == "" || u.User != nil) {
			t.Errorf("location %q leads to %s", v, u)
		}
		if u, err := e.next(res); err == nil && u != nil && (u.Scheme != "https" || u.Host != asked.Host || u.User != nil) {
			t.Errorf("link %q leads to %s", v, u)
		}
		if from, _, err := contentRange(v); err == nil && from < 0 {
			t.Errorf("range %q begins at %d", v, from)
		}
		if n, ok := uploaded(res.Header); ok && n < 0 || chunkMinimum(res.Header) < 0 {
			t.Errorf("%q is %d bytes", v, n)
		}
		if _, again, err := e.auth.answer(res, "", false, []string{"repository:x:pull"}); err == nil && again {
			if realm := e.auth.challenge.Parameters["realm"]; !strings.HasPrefix(strings.ToLower(realm), "https:") {
				t.Errorf("%q has credentials sent to %q", v, realm)
			}
		}
	})
}

// FuzzHosts reads hosts.toml.
func FuzzHosts(f *testing.F) {
	f.Add("server = 'https://example.com'\n[host.'http://example.org']\ncapabilities = ['pull']\nclient = [['a', 'b']]\nheader = {a = ['b']}\n")
	f.Add("ca = ['a']\ndial_timeout = '1s'\n")
	f.Fuzz(func(t *testing.T, text string) {
		hosts, err := parseHosts(text, "/d")
		if err != nil {
			return
		}
		if len(hosts) == 0 {
			t.Error("no host, not even the registry itself")
		}
		for _, h := range hosts {
			if h.base != nil && (h.base.Host == "" || h.base.Scheme != "http" && h.base.Scheme != "https" || h.base.User != nil) {
				t.Errorf("host %s", h.base)
			}
		}
	})
}

// FuzzBodyText shows what a registry says.
func FuzzBodyText(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"DENIED","message":"no","detail":"x"}]}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := bodyText(b); len(s) > 510 || strings.ContainsAny(s, "\n\x1b\r") {
			t.Errorf("%q becomes %q", b, s)
		}
	})
}
