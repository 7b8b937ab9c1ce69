package engine

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestImportFromAddress has the engine fetch an archive; a refusal leaves nothing.
func TestImportFromAddress(t *testing.T) {
	rootful.Check(t)
	root := Busybox(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/root.tar":
			w.Write(root)
		case "/short.tar":
			w.Header().Set("Content-Length", "1000000000")
			w.Write(root[:100_000])
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	e := Start(t)
	e.Hoy("import", s.URL+"/root.tar", "fetched:1")
	if got := e.Hoy("run", "--rm", "--network", "none", "fetched:1", "echo", "yes"); got != "yes" {
		t.Errorf("the image prints %q", got)
	}
	images := e.Hoy("images", "-aq")
	for address, want := range map[string]string{
		s.URL + "/none.tar":           "failed to GET " + s.URL + "/none.tar with status 404 Not Found",
		s.URL + "/short.tar":          "truncated",
		"http://127.0.0.1:1/root.tar": "connection refused",
	} {
		if r := e.Try("import", address, "not:1"); r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: code %d, %s", address, r.Code, r.Stderr)
		}
	}
	if got := e.Hoy("images", "-aq"); got != images {
		t.Errorf("images %q, before %q", got, images)
	}
	s.CloseClientConnections()
}
