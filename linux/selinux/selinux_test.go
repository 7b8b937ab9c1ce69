package selinux

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

func TestLevel(t *testing.T) {
	seen := map[string]bool{}
	for i := range 1000 {
		l := Level(strings.Repeat("x", i))
		if !regexp.MustCompile(`^s0:c\d+,c\d+$`).MatchString(l) {
			t.Errorf("%q is no level", l)
		}
		seen[l] = true
	}
	if len(seen) < 990 {
		t.Errorf("%d levels for 1000 containers", len(seen))
	}
	if first, second := Level("a"), Level("a"); first != second {
		t.Error("a container's level changes")
	}
}

// TestRelabel needs no SELinux: the label is an attribute that root may set.
func TestRelabel(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "sub"), 0o700), os.WriteFile(filepath.Join(dir, "sub", "f"), nil, 0o600),
		os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const label = "system_u:object_r:container_file_t:s0"
	if err := Relabel(dir, label); err != nil {
		t.Fatal(err)
	}
	of := func(path string) string {
		b := make([]byte, 256)
		n, err := unix.Lgetxattr(path, attribute, b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	for _, p := range []string{"", "sub", "sub/f", "link"} {
		if got := of(filepath.Join(dir, p)); got != label {
			t.Errorf("%q has the label %q", p, got)
		}
	}
	if got := of(outside); got == label {
		t.Error("a link was followed")
	}
	for _, p := range []string{"/", "/usr", "/usr/../etc"} {
		if err := Relabel(p, label); err == nil || !strings.Contains(err.Error(), "is not allowed") {
			t.Errorf("%s: %v", p, err)
		}
	}
}
