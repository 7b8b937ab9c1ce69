package jsonlog

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRotationWithoutDescriptors: a file that cannot be made costs what is to be written
// into it, however often that is tried, but nothing that is there.
func TestRotationWithoutDescriptors(t *testing.T) {
	dir := t.TempDir()
	c := Config{Path: filepath.Join(dir, "log"), MaxSize: 60, MaxFile: 3}
	w := open(t, c)
	for _, line := range []string{"0\n", "1\n", "2\n"} { // one entry fills a file
		write(t, w, line, noon)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	free, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(free)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	for range 4 {
		if err := w.Write(Stdout, []byte("lost\n"), noon); !errors.Is(err, unix.EMFILE) {
			t.Fatalf("%v, want %v", err, unix.EMFILE)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(read(t, c.Path, ReadOptions{Tail: -1}), " "), "1 2"; got != want && got != "0 1 2" {
		t.Errorf("there is %q, want %q", got, want)
	}
	write(t, w, "3\n", noon)
	if got, want := strings.Join(read(t, c.Path, ReadOptions{Tail: -1}), " "), "1 2 3"; got != want {
		t.Errorf("with descriptors again: %q, want %q", got, want)
	}
	if got, want := names(t, dir), []string{"log", "log.1", "log.2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
