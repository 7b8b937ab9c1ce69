package cli

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestOptionWithoutValue gives a driver an option that has none.
func TestOptionWithoutValue(t *testing.T) {
	f := newFake(t)
	var got map[string]string
	f.mux.HandleFunc("POST /networks/create", func(w http.ResponseWriter, r *http.Request) {
		var c struct{ Options map[string]string }
		json.NewDecoder(r.Body).Decode(&c)
		got = c.Options
		w.WriteHeader(201)
		w.Write([]byte(`{"Id":"c0ffee"}`))
	})
	code, _, errs := f.hoy("", "network", "create", "-o", "encrypted", "-o", "a=b", "n")
	if v, ok := got["encrypted"]; code != 0 || !ok || v != "" || got["a"] != "b" {
		t.Errorf("code %d, stderr %q, options %v", code, errs, got)
	}
}
