// Package registrytest runs distribution's registry in the test's own process, on
// loopback: the real thing to pull from and push to.
package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"encoding/pem"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"
)

// Options says what kind of registry it is.
type Options struct {
	TLS bool   // serve https with a certificate of its own, which CA names
	Dir string // keep blobs there; "": in memory
	// Wrap stands before the registry: it may ask for credentials, delay, truncate or
	// refuse.
	Wrap func(http.Handler) http.Handler
}

// A Registry serves until the test ends.
type Registry struct {
	Host     string       // host:port of loopback
	CA       string       // file with the certificate (PEM); "" without TLS
	Requests atomic.Int64 // how many came
	*httptest.Server
}

// Start starts a registry, which ends with the test.
func Start(tb testing.TB, o Options) *Registry {
	tb.Helper()
	logrus.SetLevel(logrus.PanicLevel) // it tells every refusal on stderr
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": {}, "delete": {"enabled": true}}}
	if o.Dir != "" {
		delete(c.Storage, "inmemory")
		c.Storage["filesystem"] = configuration.Parameters{"rootdirectory": o.Dir}
	}
	c.Log.AccessLog.Disabled = true
	c.HTTP.Secret = "only for tests"
	var h http.Handler = handlers.NewApp(tb.Context(), c)
	if o.Wrap != nil {
		h = o.Wrap(h)
	}
	r := &Registry{}
	counted := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.Requests.Add(1)
		h.ServeHTTP(w, q)
	})
	r.Server = httptest.NewUnstartedServer(counted)
	r.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that break off, and answers
	if o.TLS {
		r.StartTLS()
		r.CA = filepath.Join(tb.TempDir(), "ca.crt")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
		if err := os.WriteFile(r.CA, block, 0o600); err != nil {
			tb.Fatal(err)
		}
	} else {
		r.Start()
	}
	tb.Cleanup(r.Close)
	u, err := url.Parse(r.URL)
	if err != nil {
		tb.Fatal(err)
	}
	r.Host = u.Host
	return r
}
