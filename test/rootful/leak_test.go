package rootful

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestSurveySeesWhatIsLeft leaves one thing of each kind, and sees it reported.
func TestSurveySeesWhatIsLeft(t *testing.T) {
	Check(t)
	dir := t.TempDir()
	for _, tc := range []struct {
		want string
		leak func(t *testing.T) (undo func())
	}{
		{"mount " + dir + "/m tmpfs", func(t *testing.T) func() {
			m := filepath.Join(dir, "m")
			os.Mkdir(m, 0o755)
			if err := unix.Mount("none", m, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			return func() { unix.Unmount(m, 0); os.Remove(m) }
		}},
		{"cgroup ", func(t *testing.T) func() {
			p := fmt.Sprintf("/sys/fs/cgroup/unified/hoy-leak-%d", os.Getpid())
			if _, err := os.Stat("/sys/fs/cgroup/unified"); err != nil {
				p = fmt.Sprintf("/sys/fs/cgroup/hoy-leak-%d", os.Getpid())
			}
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(p) }
		}},
		{"process ", func(t *testing.T) func() {
			c := exec.Command("/proc/self/exe", "-test.run=^$", "-test.count=1")
			c.Env = append(os.Environ(), "HOY_TEST_INSIDE=1")
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			return func() { c.Wait() } // a zombie until then
		}},
		{"descriptor ", func(t *testing.T) func() {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		}},
	} {
		before := survey(nil)
		undo := tc.leak(t)
		left := difference(survey(nil), before)
		undo()
		if !slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, tc.want) }) {
			t.Errorf("leaking a %s: the survey saw %q", strings.Fields(tc.want)[0], left)
		}
		if left := difference(survey(nil), before); len(left) > 0 {
			t.Errorf("after undoing: %q", left)
		}
	}
}

func TestOwnNamespaces(t *testing.T) {
	Check(t)
	for _, kind := range []string{"mnt", "net"} {
		mine, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", os.Getppid(), kind)); err == nil && parent == mine {
			t.Errorf("the tests share the %s namespace of their parent", kind)
		}
	}
}
