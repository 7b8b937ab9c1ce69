package runtime

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
)

func TestParseOptions(t *testing.T) {
	for _, tc := range []struct {
		options string
		want    attributes
	}{
		{"", attributes{}},
		{"nosuid noexec nodev ro", attributes{set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_RDONLY}},
		{"ro rw", attributes{clear: unix.MOUNT_ATTR_RDONLY}},
		{"rw ro", attributes{set: unix.MOUNT_ATTR_RDONLY}},
		{"noatime relatime", attributes{clear: unix.MOUNT_ATTR__ATIME}},
		{"relatime noatime", attributes{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}},
		{"rbind rro rslave", attributes{bind: true, recursive: true, recSet: unix.MOUNT_ATTR_RDONLY, propagation: unix.MS_SLAVE, propagateRecursive: true}},
		{"bind private", attributes{bind: true, propagation: unix.MS_PRIVATE}},
		{"bind ridmap", attributes{bind: true, idmap: true, recIdmap: true}},
		{"size=64k mode=1777 sync defaults huge", attributes{data: []mount.Option{{Key: "size", Value: "64k"}, {Key: "mode", Value: "1777"}, {Key: "sync"}, {Key: "huge"}}}},
	} {
		got, err := parseOptions(strings.Fields(tc.options))
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", tc.options, got, err, tc.want)
		}
	}
}

func TestFind(t *testing.T) {
	ts := trees{{at: "/"}, {at: "/dev", made: 1}, {at: "/dev/pts", made: 2}, {at: "/dev", made: 3}}
	for _, tc := range []struct {
		path string
		tree int
		rest string
	}{
		{"/", 0, ""}, {"/device", 0, "device"}, {"/etc/x", 0, "etc/x"}, {"/dev", 3, ""}, {"/dev/null", 3, "null"}, {"/dev/pts/0", 2, "0"},
	} {
		got, rest := ts.find(tc.path)
		if got != ts[tc.tree] || rest != tc.rest {
			t.Errorf("%s: tree %+v, %q", tc.path, got, rest)
		}
	}
}

func TestParseHierarchy(t *testing.T) {
	for _, tc := range []struct {
		line string
		want hierarchy
		ok   bool
	}{
		{"35 31 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory", hierarchy{dir: "/sys/fs/cgroup/memory", name: "memory"}, true},
		{"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct", hierarchy{dir: "/sys/fs/cgroup/cpu,cpuacct", name: "cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}}, true},
		{"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", hierarchy{dir: "/sys/fs/cgroup", name: "cgroup", unified: true}, true},
		{"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw", hierarchy{}, false},
		{"", hierarchy{}, false},
	} {
		got, ok := parseHierarchy(tc.line)
		if ok != tc.ok || ok && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: got %+v, %v", tc.line, got, ok)
		}
	}
}
