// Package rawconn waits for files as [syscall.RawConn] does, with errors that can be told
// apart: of a file that is closed meanwhile Read and Write of an [os.File]'s RawConn return
// an error of a package that exports none, "use of closed file".
package rawconn

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Read calls f until it returns true, each time c may have become readable. It fails with
// os.ErrDeadlineExceeded, or with os.ErrClosed when the file is closed before or meanwhile.
func Read(c syscall.RawConn, f func(fd uintptr) (done bool)) error { return known(c.Read(f)) }

// Write is as Read, for a file to become writable.
func Write(c syscall.RawConn, f func(fd uintptr) (done bool)) error { return known(c.Write(f)) }

func known(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w (%w)", os.ErrClosed, err)
}
