package cgroup

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Groups are named relative to the open directory of their hierarchy: no path is
// walked from the root, and each access is three system calls.

func relative(group string) string {
	if rel := strings.Trim(group, "/"); rel != "" {
		return rel
	}
	return "."
}

func writeFile(dir int, rel, value string) error {
	fd, err := unix.Openat(dir, rel, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "openat", Path: rel, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: rel, Err: err}
	}
	return nil
}

func readFile(dir int, rel string) (string, error) {
	fd, err := unix.Openat(dir, rel, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "openat", Path: rel, Err: err}
	}
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: rel, Err: err}
		}
		if n == 0 {
			return string(all), nil
		}
		all = append(all, buf[:n]...)
	}
}

func exists(dir int, rel string) bool {
	return unix.Faccessat(dir, rel, unix.F_OK, 0) == nil
}

// subgroups lists the groups below rel, the deepest first, rel itself last.
func subgroups(dir int, rel string) ([]string, error) {
	fd, err := unix.Openat(dir, rel, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: rel, Err: err}
	}
	d := os.NewFile(uintptr(fd), rel)
	defer d.Close()
	entries, err := d.ReadDir(-1)
	var groups []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below, err := subgroups(dir, path.Join(rel, e.Name()))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		groups = append(groups, below...)
	}
	return append(groups, rel), err
}

// number reads a file that holds one number; "max" and -1 are the largest one.
func number(dir int, rel string) (uint64, error) {
	s, err := readFile(dir, rel)
	if err != nil {
		return 0, err
	}
	return parseNumber(strings.TrimSpace(s))
}

func parseNumber(s string) (uint64, error) {
	if s == "max" || s == "-1" {
		return ^uint64(0), nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// table reads lines of a key and a number. Other lines are passed over.
func table(dir int, rel string) (map[string]uint64, error) {
	s, err := readFile(dir, rel)
	if err != nil {
		return nil, err
	}
	t := map[string]uint64{}
	for l := range strings.Lines(s) {
		k, v, _ := strings.Cut(strings.TrimSpace(l), " ")
		if n, err := parseNumber(v); err == nil {
			t[k] = n
		}
	}
	return t, nil
}
