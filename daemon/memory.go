package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack returns memory that only the start, or a busy time, needed: of the heap, and
// of the program itself, whose pages are mapped in pieces of 64 kB around each that is
// touched, so that the start maps nearly all of it. What is needed again comes back from
// the page cache by a fault, a few hundred in all. A failure costs memory, nothing else.
func giveBack() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range untouched(f, self) {
		unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ begin, end uintptr }

// untouched finds the mappings of file in a process's smaps (proc_pid_smaps(5)) that
// nobody can write to and nobody has written to, as a dynamic linker does: they have no
// page of their own, so the kernel can forget them without loss.
func untouched(smaps io.Reader, file string) (found []mapping) {
	var last mapping
	ours := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		var m mapping
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &m.begin, &m.end, &mode); err == nil {
			last, ours = m, strings.HasSuffix(line, " "+file) && !strings.Contains(mode, "w")
		} else if ours && strings.HasPrefix(line, "Anonymous:") && strings.HasSuffix(line, " 0 kB") {
			found = append(found, last)
		}
	}
	return found
}
