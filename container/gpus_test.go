package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container/cdi"
)

// TestDeviceRequests turns requests for devices into names of CDI devices.
func TestDeviceRequests(t *testing.T) {
	dir := t.TempDir()
	known, none := cdi.Registry{dir}, cdi.Registry{}
	if err := os.WriteFile(filepath.Join(dir, "gpu.json"), []byte(`{"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": [{"name": "0", "containerEdits": {}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	type request = apicontainer.DeviceRequest
	gpu := [][]string{{"gpu"}}
	for _, tc := range []struct {
		r     request
		known cdi.Registry
		want  string
	}{
		{request{Driver: "cdi", DeviceIDs: []string{"a.b/c=d", "e.f/g=h"}}, none, "a.b/c=d e.f/g=h"},
		{request{Driver: "cdi", Count: 1}, none, "error: unexpected count in CDI device request"},
		{request{Driver: "cdi", Options: map[string]string{"a": "b"}}, none, "error: unexpected options in CDI device request"},
		{request{Capabilities: gpu, Count: -1}, known, "amd.com/gpu=all"},
		{request{Capabilities: gpu, Count: 2}, known, "amd.com/gpu=0 amd.com/gpu=1"},
		{request{Capabilities: gpu, DeviceIDs: []string{"1", "amd.com/gpu=x"}}, known, "amd.com/gpu=1 amd.com/gpu=x"},
		{request{Capabilities: gpu, DeviceIDs: []string{"1"}, Count: 1}, known, "error: cannot set both Count and DeviceIDs on device request"},
		{request{Capabilities: [][]string{{"gpu", "nvidia"}}}, known, `error: could not select device driver "" with capabilities: [[gpu nvidia]]`},
		{request{Driver: "nvidia", Capabilities: gpu}, known, `error: could not select device driver "nvidia" with capabilities: [[gpu]]`},
		{request{Capabilities: gpu}, none, `error: could not select device driver "" with capabilities: [[gpu]]`},
	} {
		names, err := cdiNames([]request{tc.r}, tc.known)
		got := strings.Join(names, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.r, got, tc.want)
		}
	}
}
