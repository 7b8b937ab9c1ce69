package filelimit

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	full := fmt.Errorf("cannot open x: %w", syscall.EMFILE)
	want := fmt.Sprintf("the keeper may open %d files and they are used up: cannot open x: too many open files", limit.Cur)
	err := Explain("the keeper", full)
	if err.Error() != want || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%q, want %q", err, want)
	}
	if again := Explain("the engine", err); again.Error() != want {
		t.Errorf("explained twice: %q", again)
	}
	if err := Explain("the keeper", syscall.ENFILE); !strings.Contains(err.Error(), "fs.file-max") {
		t.Errorf("%q", err)
	}
	if err := Explain("the keeper", syscall.EPERM); err != syscall.EPERM {
		t.Errorf("%v", err)
	}
	if err := Explain("the keeper", nil); err != nil {
		t.Errorf("%v", err)
	}
}

func TestRoom(t *testing.T) {
	if err := Room(10); err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	low := unix.Rlimit{Cur: 20, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	if err := Room(20); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%v", err)
	}
	if err := Room(2); err != nil {
		t.Errorf("after it: %v", err)
	}
}
