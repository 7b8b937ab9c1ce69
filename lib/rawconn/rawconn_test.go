package rawconn

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	never := func(uintptr) bool { return false }
	for _, tc := range []struct {
		name string
		end  func(f *os.File)
		want error
	}{
		{"closed meanwhile", func(f *os.File) { time.AfterFunc(10*time.Millisecond, func() { f.Close() }) }, os.ErrClosed},
		{"closed before", func(f *os.File) { f.Close() }, os.ErrClosed},
		{"late", func(f *os.File) { f.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			in, err1 := r.SyscallConn()
			out, err2 := w.SyscallConn()
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			tc.end(r)
			if err := Read(in, never); !errors.Is(err, tc.want) {
				t.Errorf("Read: %v", err)
			}
			tc.end(w)
			if err := Write(out, never); !errors.Is(err, tc.want) {
				t.Errorf("Write: %v", err)
			}
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, tc.want) {
				t.Errorf("as os.File says it: %v", err)
			}
		})
	}
}
