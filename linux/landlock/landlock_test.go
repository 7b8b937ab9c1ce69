package landlock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/thread"
	"hoy/linux/landlock"
)

// TestRuleset puts a thread under a rule set and tries what is allowed and what is not.
func TestRuleset(t *testing.T) {
	if landlock.Version() == 0 {
		t.Skip("the kernel has no landlock")
	}
	in, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	rules, err := landlock.Ruleset(landlock.Rule{File: dir, Rights: landlock.Build})
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	thread.Run(func() {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules.Fd(), 0, 0); errno != 0 {
			t.Error(errno)
			return
		}
		allowed := map[string]error{
			"mkdir": os.Mkdir(in+"/a", 0o700),
			"write": os.WriteFile(in+"/f", []byte("x"), 0o600),
			"cut":   os.Truncate(in+"/f", 1<<20),
			"link":  os.Link(in+"/f", in+"/a/f"),
			"list":  func() error { _, err := os.ReadDir(in); return err }(),
			"clean": os.RemoveAll(in + "/a"),
		}
		for what, err := range allowed {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, readErr := os.ReadFile(out + "/secret")
		for what, err := range map[string]error{
			"read":   readErr,
			"mkdir":  os.Mkdir(out+"/a", 0o700),
			"write":  os.WriteFile(out+"/f", nil, 0o600),
			"remove": os.Remove(out + "/secret"),
			"link":   os.Link(in+"/f", out+"/f"),
			"exec":   unix.Exec("/proc/self/exe", nil, nil),
		} {
			if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EXDEV) {
				t.Errorf("%s outside: %v", what, err)
			}
		}
	})
}
