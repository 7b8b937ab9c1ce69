package standin

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hoy/shim"
)

// TestReportIsOurs: a shim has nothing of the pipe for the report, whose end the engine
// waits for. Some shims keep what they are started with for as long as they run.
func TestReportIsOurs(t *testing.T) {
	if b := os.Getenv("TEST_BUNDLE"); b != "" {
		os.Exit(Main([]string{"run", b}))
	}
	b := shim.Bundle(filepath.Join(t.TempDir(), "b"))
	program := filepath.Join(t.TempDir(), "shim")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nreadlink /proc/$$/fd/3 >>inherited\necho 'no such thing' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.Make(&shim.Task{ID: "c", Program: program}, nil); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := exec.Command(os.Args[0], "-test.run=TestReportIsOurs$")
	c.Env = append(os.Environ(), "TEST_BUNDLE="+string(b))
	c.ExtraFiles = []*os.File{w} // as shim.ReportFD
	err = c.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(r)
	c.Wait()
	var report shim.Report
	if err := json.Unmarshal(said, &report); err != nil || !strings.Contains(report.Error, "no such thing") {
		t.Errorf("report %q: %v", said, err)
	}
	if got, err := os.ReadFile(b.Path("inherited")); err != nil || strings.Contains(string(got), "pipe:") {
		t.Errorf("the shim has descriptor 3: %q, %v", got, err)
	}
}
