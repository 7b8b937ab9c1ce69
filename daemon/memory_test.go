package daemon

import (
	"slices"
	"strings"
	"testing"
)

// Only what nobody has written to may be forgotten: the second mapping holds pages
// that a linker has changed, the third is data, the last another file.
func TestUntouched(t *testing.T) {
	const smaps = `00400000-01000000 r-xp 00000000 fe:00 123                   /usr/bin/hoyd
Size:              12288 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
01000000-01100000 r--p 00c00000 fe:00 123                   /usr/bin/hoyd
Anonymous:             8 kB
01100000-01200000 rw-p 00d00000 fe:00 123                   /usr/bin/hoyd
Anonymous:             0 kB
01200000-01a00000 r--p 00e00000 fe:00 123                   /usr/bin/hoyd
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 fe:00 9             /usr/lib/hoyd
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x1000000}, {0x1200000, 0x1a00000}}
	if got := untouched(strings.NewReader(smaps), "/usr/bin/hoyd"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
