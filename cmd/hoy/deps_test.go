package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies keeps the command line small, quick to start, and portable.
func TestDependencies(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		c := exec.Command("go", "list", "-deps", ".")
		c.Env = append(c.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			if dep == "hoy/registry/builtin" { // options of a program that it starts, no engine
				continue
			}
			if hoy, ok := strings.CutPrefix(dep, "hoy/"); ok {
				if top, _, _ := strings.Cut(hoy, "/"); top != "cmd" && top != "cli" && top != "client" && top != "lib" {
					t.Errorf("%s: imports %s: the command line speaks to the engine by its API only", goos, dep)
				}
				continue
			}
			for bad, why := range map[string]string{
				"github.com/containerd/containerd": "it is the engine's store",
				"github.com/moby/buildkit":         "it is the engine's builder",
				"github.com/moby/moby/client":      "its telemetry costs 0.7 ms at each start",
				"github.com/docker/cli":            "it starts four times slower",
				"go.etcd.io/bbolt":                 "the command line holds no state",
				"go.opentelemetry.io":              "it costs time at each start",
				"google.golang.org/grpc":           "the API is HTTP",
			} {
				if dep == bad || strings.HasPrefix(dep, bad+"/") {
					t.Errorf("%s: depends on %s: %s", goos, dep, why)
				}
			}
		}
	}
}
