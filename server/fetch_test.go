package server

import (
	"testing"

	"hoy/lib/fault"
)

// TestFetchRefuses what is no address of the web.
func TestFetchRefuses(t *testing.T) {
	for _, address := range []string{"", "file:///etc/passwd", "%2Fdata%2Ffile.tar", "http://", "unix:///run/x"} {
		if _, err := fetch(t.Context(), address); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
