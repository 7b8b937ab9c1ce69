package buildfiles

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
)

// TarHead is how many bytes of a stream IsTar wants, unless there are fewer.
const TarHead = 1024

// tarBlock is the size of what a tar archive consists of.
const tarBlock = 512

// IsTar reports whether a stream begins as a tar archive, by its first bytes. Its first
// member may be described by more blocks than are in head: Python's tarfile puts a time of
// less than a second before each (pax, POSIX.1-2001), others do it with long names.
func IsTar(head []byte) bool {
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil || len(head) >= tarBlock && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}
