package initproc_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/keeper/initproc"
)

// TestMain is docker-init when it is called so: as a process of its own, it collects
// as a subreaper what PID 1 would.
func TestMain(m *testing.M) {
	if os.Args[0] == initproc.Name {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		os.Exit(initproc.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	c.Args[0] = initproc.Name
	return c
}

func TestExitCode(t *testing.T) {
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want int
		args []string
	}{
		{0, []string{"--", "true"}},
		{0, []string{"true"}},
		{7, []string{"--", "sh", "-c", "exit 7"}},
		{128 + 9, []string{"--", "sh", "-c", "kill -9 $$"}},
		{128 + 15, []string{"--", "sh", "-c", "kill -15 $$"}},
		{7, []string{"--", "sh", "-c", "(sleep 0.01; exit 3) & (exit 4) & exit 7"}},
		{127, []string{"--", "no-such-program"}},
		{127, []string{"--", "/no/such/program"}},
		{126, []string{"--", plain}},
		{1, nil},
	} {
		err := command(tc.args...).Run()
		var exit *exec.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != tc.want {
			t.Errorf("%q ended with %d, want %d", tc.args, got, tc.want)
		}
	}
}

// TestSignalsAreHandedOn sends signals, also a real-time one, and sees the program
// have them.
func TestSignalsAreHandedOn(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGWINCH, unix.SIGINT, unix.Signal(40)} {
		c := command("--", "sh", "-c", fmt.Sprintf("trap 'echo got; exit 9' %d; echo ready; while :; do sleep 0.01; done", s))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		c.Process.Signal(s)
		if lines.Scan(); lines.Text() != "got" {
			t.Errorf("signal %d: the program says %q", s, lines.Text())
		}
		c.Wait()
		if got := c.ProcessState.ExitCode(); got != 9 {
			t.Errorf("signal %d: ended with %d", s, got)
		}
	}
}

// TestOrphansAreReaped has the program leave processes behind that end before it does.
func TestOrphansAreReaped(t *testing.T) {
	c := command("--", "sh", "-c", `for i in 1 2 3 4 5; do (sleep 0.01 & echo $!) ; done; echo end; read line`)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var orphans []string
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "end"; {
		orphans = append(orphans, lines.Text())
	}
	if len(orphans) != 5 {
		t.Fatalf("orphans: %q", orphans)
	}
	for _, p := range orphans {
		gone := false
		for deadline := 1000; deadline > 0 && !gone; deadline-- {
			_, err := os.Stat("/proc/" + p)
			if gone = os.IsNotExist(err); !gone {
				unix.Poll(nil, 10)
			}
		}
		if !gone {
			status, _ := os.ReadFile("/proc/" + p + "/stat")
			t.Errorf("orphan %s is still there: %s", p, strings.TrimSpace(string(status)))
		}
	}
	in.Close()
	c.Wait()
}
