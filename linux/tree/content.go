package tree

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// content copies size bytes of a file. One that shrinks meanwhile has a hole there.
func (c *copier) content(to, from *os.File, size int64) error {
	if !c.noShare {
		err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
		if err == nil {
			return nil
		}
		c.noShare = true
	}
	for off := int64(0); off < size; {
		data, hole := segment(from, off, size)
		if data == size {
			break
		}
		if _, err := from.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.Seek(data, io.SeekStart); err != nil {
			return err
		}
		// os.File copies within the kernel (copy_file_range(2)) where it can.
		if _, err := io.CopyN(to, from, hole-data); err != nil && err != io.EOF {
			return err
		}
		off = hole
	}
	return to.Truncate(size)
}

// segment finds the next bytes from off that are not a hole: [data, hole). There are none
// when data is size. Where the file system does not tell, all is data (lseek(2)).
func segment(f *os.File, off, size int64) (data, hole int64) {
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO:
		return size, size
	case err != nil:
		return off, size
	}
	hole, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	if err != nil || hole > size {
		hole = size
	}
	return min(data, size), hole
}
