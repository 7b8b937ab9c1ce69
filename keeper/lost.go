package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lostError tells of a keeper whose exec root was deleted while it ran. It holds
// containers, and nobody can reach it any more: with another keeper beside it they would
// count as ended, and run on unseen.
type lostError struct {
	pid  int
	root string
}

func (e *lostError) Error() string {
	return fmt.Sprintf("the exec root %s was deleted under a keeper that holds containers: process %d, which nobody can reach any more. "+
		"End its containers and then itself (pkill -KILL -P %d; kill -KILL %d), or restart the machine", e.root, e.pid, e.pid, e.pid)
}

// lost looks for a keeper that has the lock of this exec root in a file that is gone. One
// that is just ending has that for a moment, too.
func lost(root string) error {
	var fs unix.Stat_t
	if err := unix.Stat(root, &fs); err != nil {
		return nil // it is yet to be made
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(line), "hoy-keeper\x00--exec-root\x00"+root+"\x00") {
			continue
		}
		if dir := filepath.Dir(path); hasLock(dir, filepath.Join(root, "keeper.pid"), fs.Dev) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return &lostError{pid, root}
		}
	}
	return nil
}

// hasLock tells whether a process has the deleted file of this path open, on the file
// system dev: another machine's in a container has its own.
func hasLock(proc, path string, dev uint64) bool {
	fds, _ := filepath.Glob(filepath.Join(proc, "fd", "*"))
	for _, fd := range fds {
		var st unix.Stat_t
		if to, err := os.Readlink(fd); err == nil && to == path+" (deleted)" && unix.Stat(fd, &st) == nil && st.Dev == dev {
			return true
		}
	}
	return false
}
