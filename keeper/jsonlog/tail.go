package jsonlog

import (
	"bytes"
	"io"
	"os"
)

// seekTail positions the files, oldest first, so that reading them from files[first]
// on gives the last n entries; all of them if n is negative.
func seekTail(files []source, n int) (first int, err error) {
	if n < 0 {
		return 0, nil
	}
	for first = len(files) - 1; first >= 0; first-- {
		if err := files[first].ready(); err != nil {
			return 0, err
		}
		if n, err = seekLines(files[first].File, n); err != nil {
			return 0, err
		}
		if n == 0 {
			return first, nil
		}
	}
	return 0, nil
}

// seekLines positions f at its last n lines. more is how many lines it lacks. What
// follows the last newline is no line.
func seekLines(f *os.File, n int) (more int, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return 0, err
	}
	buf := make([]byte, min(end, 64<<10))
	last := true // the next newline found ends the last line
	for end > 0 {
		b := buf[:min(end, int64(len(buf)))]
		if _, err := f.ReadAt(b, end-int64(len(b))); err != nil {
			return 0, err
		}
		for i := len(b); ; {
			if i = bytes.LastIndexByte(b[:i], '\n'); i < 0 {
				break
			}
			if last {
				last = false
				continue
			}
			if n--; n == 0 {
				_, err := f.Seek(end-int64(len(b)-i-1), io.SeekStart)
				return 0, err
			}
		}
		end -= int64(len(b))
	}
	if !last {
		n-- // the first line of the file
	}
	_, err = f.Seek(0, io.SeekStart)
	return n, err
}
