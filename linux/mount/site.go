package mount

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Site is a mount of the caller's namespace.
type Site struct {
	Point  string // where it is mounted
	Shared bool   // what is mounted below it appears in its peers, and the other way
	Slave  bool   // what is mounted below its master appears in it
}

// SiteOf finds the mount that path is on.
func SiteOf(path string) (Site, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st); err != nil {
		return Site{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Site{}, fmt.Errorf("cannot find the mount of %s: %w", path, err)
	}
	id := strconv.FormatUint(st.Mnt_id, 10)
	for line := range strings.Lines(string(table)) {
		if p, ok := parseSite(line, id); ok {
			return p, nil
		}
	}
	return Site{}, fmt.Errorf("cannot find the mount of %s: it has no number %s in /proc/self/mountinfo", path, id)
}

// parseSite reads a line of mountinfo (proc_pid_mountinfo(5)) if it is the one of that id.
func parseSite(line, id string) (p Site, ok bool) {
	fields := strings.Fields(line)
	end := slices.Index(fields, "-")
	if end < 6 || fields[0] != id {
		return p, false
	}
	p.Point = unescape.Replace(fields[4])
	for _, f := range fields[6:end] {
		p.Shared = p.Shared || strings.HasPrefix(f, "shared:")
		p.Slave = p.Slave || strings.HasPrefix(f, "master:")
	}
	return p, true
}

// unescape undoes the kernel's way to write a path in a table.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
