// Package script runs testscript files, written as a user types, against a real engine.
package script

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hoy/test/engine"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// words are commands for scripts besides hoy: `code N COMMAND…` wants that very exit
// code, `soon COMMAND…` repeats a command until it succeeds, for ten seconds at most.
var words = map[string]string{
	"code": `#!/bin/sh
want=$1; shift
"$@"; got=$?
[ "$got" = "$want" ] || { echo "exit code $got, want $want" >&2; exit 1; }
`,
	"soon": `#!/bin/sh
n=0
until "$@" >/dev/null 2>&1; do
	n=$((n+1)); [ $n -lt 500 ] || { "$@"; exit 1; }
	sleep 0.02
done
"$@"
`,
}

// TestScripts runs testdata/*.txtar side by side against one engine, which has the
// image busybox. Scripts name their containers by their own file's name.
func TestScripts(t *testing.T) {
	rootful.Check(t)
	hoy := engine.Bin(t, "hoy")
	e := engine.Start(t)
	e.ImportBusybox()
	bin := t.TempDir()
	for name, text := range words {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rootfs := filepath.Join(bin, "rootfs.tar")
	if err := os.WriteFile(rootfs, engine.Busybox(t), 0o644); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+filepath.Dir(hoy)+":"+os.Getenv("PATH"))
			env.Setenv("HOY_HOST", e.Host)
			env.Setenv("ROOTFS", rootfs)
			return nil
		},
	})
}
