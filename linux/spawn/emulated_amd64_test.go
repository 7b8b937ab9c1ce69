package spawn_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestArm64 builds these tests for arm64 and runs those of the format and the table
// under an emulator. It has no clone3 and no vfork that shares memory, so the tests of
// real starts run on real machines only; the child's assembly is the same in both.
func TestArm64(t *testing.T) {
	const emulator = "qemu-aarch64-static"
	if _, err := exec.LookPath(emulator); err != nil {
		t.Fatalf("%v: 'make test' installs it (package qemu-user-static)", err)
	}
	bin := filepath.Join(t.TempDir(), "arm64.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", bin, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), emulator, bin, "-test.v", "-test.run", "^(TestTable|TestTableArguments|TestPlanGolden|TestLoadRefuses)$")
	run.Env = append(os.Environ(), "HOY_TEST_INSIDE=1") // the emulator cannot execute itself again
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"--- PASS: TestTable ", "--- PASS: TestTableArguments ", "--- PASS: TestPlanGolden "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
