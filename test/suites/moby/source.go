package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed records.go.txt
var records string

// Tests of what an engine makes of a container that ran when the machine went down write
// the state that it finds, which is dockerd's file.
const (
	tampers = "func (d *Daemon) TamperWithContainerConfig(t testing.TB, containerID string, tamper func(*container.Container)) {\n\tt.Helper()\n"
	instead = "\tif d.tamperWithRecord(t, containerID, tamper) {\n\t\treturn\n\t}\n"
)

// source copies the module, with one change: those tests write hoy's state where the engine
// is hoy.
func (o *options) source(moby string) (string, error) {
	dir := filepath.Join(o.cache, "source")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(moby)); err != nil {
		return "", err
	}
	pkg := filepath.Join(dir, "internal", "testutil", "daemon")
	path := filepath.Join(pkg, "daemon.go")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	changed := strings.Replace(string(b), tampers, tampers+instead, 1)
	if changed == string(b) {
		return "", fmt.Errorf("%s writes a container's state in another way than it did", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(pkg, "records.go"), []byte(records), 0o644)
}
