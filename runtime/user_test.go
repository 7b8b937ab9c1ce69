package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

// image makes a directory with files and opens it.
func image(t *testing.T, files map[string]string) (*os.File, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, dir
}

const (
	passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\n77:x:99:99::/odd:\n\n# comment\nbroken\n"
	group  = "root:x:0:\nwheel:x:10:root\nwww:x:34:\nlog:x:4:web,other\naudio:x:29:\n"
)

func TestLookupUser(t *testing.T) {
	rootful.Check(t)
	full, _ := image(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	none, _ := image(t, nil)
	for _, tc := range []struct {
		root   *os.File
		user   string
		groups string
		want   string // uid gid additional home, or the error
	}{
		{full, "", "", "0 0 [0 10] /root"},
		{full, "root", "", "0 0 [0 10] /root"},
		{full, "web", "", "33 34 [34 4] /var/www"},
		{full, "33", "", "33 34 [34 4] /var/www"},
		{full, "web:audio", "", "33 29 [29] /var/www"},
		{full, "web:12", "", "33 12 [12] /var/www"},
		{full, "web", "audio 4000", "33 34 [34 4 29 4000] /var/www"},
		{full, "5000", "", "5000 0 [0] /"},
		{full, "5000:5001", "", "5000 5001 [5001] /"},
		{full, "77", "", "77 0 [0] /"}, // a number is never a name
		{full, "nobody", "", `unable to find user nobody: `},
		{full, "web:nogroup", "", `unable to find group nogroup: `},
		{full, "-5", "", ``},
		{full, "web", "nogroup", `cannot find groups ["nogroup"]: `},
		{none, "", "", "0 0 [0] /"},
		{none, "7:8", "9", "7 8 [8 9] /"},
		{none, "web", "", `unable to find user web: `},
	} {
		u, home, err := LookupUser(tc.root, tc.user, strings.Fields(tc.groups))
		got := fmt.Sprintf("%d %d %v %s", u.UID, u.GID, u.AdditionalGids, home)
		if err != nil {
			got = err.Error()
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v is no invalid argument", tc.user, err)
			}
		}
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%q %q: got %s, want %s", tc.user, tc.groups, got, tc.want)
		}
	}
}

// TestLookupUserInAHostileImage has an image whose account files are traps.
func TestLookupUserInAHostileImage(t *testing.T) {
	rootful.Check(t)
	for name, tc := range map[string]struct {
		trap func(etc string) error
		want string
	}{
		"a link to the host's": {func(etc string) error { return os.Symlink("/../../../../etc/hostname", etc+"/passwd") }, `unable to find user daemon`},
		"a FIFO":               {func(etc string) error { return unix.Mkfifo(etc+"/passwd", 0o644) }, "cannot read the container's /etc/passwd: it is not a regular file"},
		"a device":             {func(etc string) error { return unix.Mknod(etc+"/passwd", unix.S_IFCHR|0o644, 1<<8|5) }, "cannot read the container's /etc/passwd: it is not a regular file"},
		"a directory":          {func(etc string) error { return os.Mkdir(etc+"/passwd", 0o755) }, "cannot read the container's /etc/passwd: it is not a regular file"},
		"a huge file":          {func(etc string) error { return hugeFile(etc + "/passwd") }, "cannot read the container's /etc/passwd: it is larger than"},
		"a link of procfs":     {func(etc string) error { return os.Symlink("/proc/self/root/etc/passwd", etc+"/passwd") }, `unable to find user daemon`},
	} {
		root, dir := image(t, map[string]string{"etc/group": ""})
		if err := tc.trap(filepath.Join(dir, "etc")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := LookupUser(root, "daemon", nil); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

func hugeFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(1 << 40)
}
