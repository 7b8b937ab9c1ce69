package spawn_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
	"hoy/test/rootful"
)

// TestFrozenGroup has a child move into a frozen group of the v1 freezer, where even
// SIGKILL waits, until OnTimeout thaws it.
func TestFrozenGroup(t *testing.T) {
	rootful.Check(t)
	freezer := "/sys/fs/cgroup/freezer"
	if _, err := os.Stat(filepath.Join(freezer, "tasks")); err != nil {
		freezer = "" // pure v2, where a group that is born frozen can be killed
	}
	group := filepath.Join(freezer, fmt.Sprintf("hoy-spawn-%d", os.Getpid()))
	state, freeze, thaw, join := filepath.Join(group, "freezer.state"), "FROZEN", "THAWED", "tasks"
	if freezer == "" {
		group = filepath.Join("/sys/fs/cgroup", group)
		state, freeze, thaw, join = filepath.Join(group, "cgroup.freeze"), "1", "0", "cgroup.procs"
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 {
			if os.Remove(group) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("cannot remove %s", group)
	})
	if err := os.WriteFile(state, []byte(freeze), 0); err != nil {
		t.Fatal(err)
	}
	tasks, err := os.OpenFile(filepath.Join(group, join), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tasks.Close()
	s := spawn.New()
	s.Call("join", "cgroup", unix.SYS_WRITE, s.File(tasks), s.Str("0"), spawn.Int(1))
	s.Call("exec", "/bin/true", unix.SYS_EXECVE, s.Str("/bin/true"), s.Strings(nil), s.Strings(nil))
	_, p := load(t, s, [3]*os.File{})
	p.OnTimeout = func() {
		if err := os.WriteFile(state, []byte(thaw), 0); err != nil {
			t.Error(err)
		}
	}
	_, err = p.Start(200 * time.Millisecond)
	var step *spawn.StepError
	if !errors.As(err, &step) || !step.Killed {
		t.Errorf("a child in a frozen group: %v", err)
	}
}
