package jsonlog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestWatch has more directories and followers than a user may have inotify instances:
// each follower is woken once for each time that it is armed, and nothing is left.
func TestWatch(t *testing.T) {
	w := watcher{dirs: map[string]*watched{}, told: map[int32]*watched{}}
	root := t.TempDir()
	dir := func(i int) string { return filepath.Join(root, fmt.Sprint(i)) }
	var all []*watch
	for i := range 300 {
		if err := os.Mkdir(dir(i), 0o755); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			all = append(all, w.follow(dir(i)))
		}
	}
	defer func() { w.file.Close() }()
	touch := func(i int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir(i), "log"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, h := range all {
			h.arm()
		}
		for i := range 300 {
			touch(i)
			touch(i)
		}
		for _, h := range all {
			<-h.woken
		}
		for i, h := range all {
			select {
			case <-h.woken:
				t.Errorf("follower %d was woken twice", i)
			default:
			}
		}
	}
	all[0].arm()
	if err := os.RemoveAll(dir(0)); err != nil {
		t.Fatal(err)
	}
	<-all[1].woken
	all[1].arm() // nothing to watch is no error
	all[2].arm()
	w.wake(-1)
	<-all[2].woken
	for _, h := range all {
		h.arm()
	}
	for _, h := range all {
		h.stop()
	}
	if len(w.dirs) != 0 || len(w.told) != 0 {
		t.Errorf("%d directories and %d watches are left", len(w.dirs), len(w.told))
	}
}
