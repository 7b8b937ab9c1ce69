// Package filelimit says in plain words that a program has no file descriptors left.
//
// The soft limit need not be raised: Go does that at the start of every program that
// uses package os, up to the hard one (setrlimit(2), RLIMIT_NOFILE).
package filelimit

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Explain makes an error that comes from the limit of open files one that says so,
// and whose limit it is: "the keeper". Other errors, and nil, it returns as they are.
func Explain(who string, err error) error {
	if errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("the machine's limit of open files (sysctl fs.file-max) is used up: %w", err)
	}
	var limit unix.Rlimit
	var said *usedUp
	if !errors.Is(err, syscall.EMFILE) || errors.As(err, &said) || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return err
	}
	return &usedUp{who, limit.Cur, err}
}

type usedUp struct {
	who   string
	limit uint64
	err   error
}

func (e *usedUp) Error() string {
	return fmt.Sprintf("%s may open %d files and they are used up: %v", e.who, e.limit, e.err)
}

func (e *usedUp) Unwrap() error { return e.err }

// Room returns an error unless n more files can be opened. What is made of several
// files then need not be half made.
func Room(n int) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	fds := make([]int, 0, n)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range n {
		fd, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot open %d files: %w", n, err)
		}
		fds = append(fds, fd)
	}
	return nil
}
