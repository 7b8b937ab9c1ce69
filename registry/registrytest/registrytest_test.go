package registrytest_test

import (
	"net/http"
	"testing"

	"hoy/registry/registrytest"
)

func TestStart(t *testing.T) {
	for _, o := range []registrytest.Options{{}, {TLS: true}, {Dir: t.TempDir()}} {
		r := registrytest.Start(t, o)
		got, err := r.Client().Get(r.URL + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != http.StatusOK || (r.CA != "") != o.TLS || r.Requests.Load() != 1 {
			t.Errorf("%+v: %s, %d requests", o, got.Status, r.Requests.Load())
		}
	}
}
