package mount

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestClassicOptions(t *testing.T) {
	for _, tc := range []struct {
		options string
		flags   uintptr
		data    string
	}{
		{"", 0, ""},
		{"defaults,rw", 0, ""},
		{"ro,size=1m,noexec,mode=755", unix.MS_RDONLY | unix.MS_NOEXEC, "size=1m,mode=755"},
		{"ro,rw,nosuid,suid", 0, ""},
		{"rbind,rslave", unix.MS_BIND | unix.MS_REC | unix.MS_SLAVE, ""},
		{"addr=10.0.0.1,vers=4,,hard", 0, "addr=10.0.0.1,vers=4,hard"},
	} {
		if flags, data := ClassicOptions(tc.options); flags != tc.flags || data != tc.data {
			t.Errorf("%q: %#x %q, want %#x %q", tc.options, flags, data, tc.flags, tc.data)
		}
	}
}
