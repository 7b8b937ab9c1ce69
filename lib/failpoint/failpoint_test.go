package failpoint

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestHit(t *testing.T) {
	if len(os.Args) > 1 && os.Args[len(os.Args)-1] == "hit" {
		if err := Hit(ContainerExit, "web"); err != nil {
			os.Stdout.WriteString("error")
		}
		os.Exit(0)
	}
	for _, tc := range []struct{ plan, out string }{
		{"", ""},
		{"engine.exit.received=error", "error"},
		{"other=error", ""},
		{"engine.exit.received@web=error", "error"},
		{"engine.exit.received@db=error", ""},
		{"other=error,engine.exit.received=kill", "killed"},
	} {
		c := exec.Command(os.Args[0], "-test.run=TestHit$", "hit")
		c.Env = append(os.Environ(), "HOY_FAILPOINT="+tc.plan)
		b, err := c.Output()
		got := string(b)
		if ws, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			got = strings.ToLower(ws.Signal().String())
		} else if err != nil {
			t.Fatal(err)
		}
		if got != tc.out {
			t.Errorf("plan %q: got %q, want %q", tc.plan, got, tc.out)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[Point]bool{}
	for _, p := range All {
		if seen[p] {
			t.Errorf("%s listed twice", p)
		}
		seen[p] = true
	}
}
