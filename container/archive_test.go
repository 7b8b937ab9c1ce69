package container

import "testing"

func TestCleanPath(t *testing.T) {
	for p, want := range map[string]string{
		"": "/", "/": "/", ".": "/.", "/.": "/.", "etc": "/etc", "/etc/": "/etc/", "etc/.": "/etc/.", "/a/../b": "/b", "../..": "/", "./": "/.", "/./": "/.", "/etc/./": "/etc/.",
		"/a//b/": "/a/b/", "/a/./b": "/a/b", "/a/b/..": "/a", "/..hidden": "/..hidden", "x.": "/x.",
	} {
		if got := cleanPath(p); got != want {
			t.Errorf("%q becomes %q, want %q", p, got, want)
		}
	}
}

func TestMountOf(t *testing.T) {
	point := func(dest string, rw bool) (m mountPoint) {
		m.Destination, m.RW = dest, rw
		return m
	}
	v := &view{mounts: []mountPoint{point("/data", true), point("/data/fixed/", false), point("/database", false)}}
	for p, want := range map[string]string{"/": "", "/etc": "", "/data": "/data", "/data/x": "/data", "/data/fixed": "/data/fixed/", "/data/fixed/y/z": "/data/fixed/", "/datab": "", "/database/x": "/database"} {
		got := ""
		if m := v.mountOf(p); m != nil {
			got = m.Destination
		}
		if got != want {
			t.Errorf("%s is in %q, want %q", p, got, want)
		}
	}
}
