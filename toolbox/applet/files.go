package applet

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// files are the programs that look at and change files.
func files() map[string]program {
	return map[string]program{
		"basename": basename, "dirname": dirname, "chown": chown, "ln": ln, "rmdir": rmdir,
		"readlink": readlink, "realpath": readlink, "stat": stat, "test": test, "[": test,
		"du": du, "df": df, "mount": mountProgram, "umount": umount, "sync": syncProgram, "which": which,
		"pwd": pwd,
	}
}

func (c *call) usage(s string) error { return fmt.Errorf("usage: %s %s", c.name, s) }

func basename(c *call) error {
	if len(c.args) == 0 {
		return c.usage("PATH [SUFFIX]")
	}
	b := filepath.Base(c.args[0])
	if len(c.args) > 1 && b != c.args[1] {
		b = strings.TrimSuffix(b, c.args[1])
	}
	fmt.Fprintln(c.out, b)
	return nil
}

func dirname(c *call) error {
	if len(c.args) != 1 {
		return c.usage("PATH")
	}
	fmt.Fprintln(c.out, filepath.Dir(c.args[0]))
	return nil
}

func pwd(c *call) error {
	d, err := os.Getwd()
	fmt.Fprintln(c.out, d)
	return err
}

func chown(c *call) error {
	opt, rest, err := flags(c.args, "Rh")
	if err != nil {
		return err
	}
	if len(rest) < 2 {
		return c.usage("[-R] USER[:GROUP] FILE...")
	}
	user, group, _ := strings.Cut(rest[0], ":")
	uid, err := lookup("/etc/passwd", user)
	if err != nil {
		return err
	}
	gid, err := lookup("/etc/group", group)
	if err != nil {
		return err
	}
	for _, p := range rest[1:] {
		if _, all := opt['R']; !all {
			err = os.Chown(p, uid, gid)
		} else {
			err = filepath.WalkDir(p, func(p string, _ fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				return os.Lchown(p, uid, gid)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookup turns a name into its number; "" is -1, which means leave it.
func lookup(table, name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	b, err := os.ReadFile(table)
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(b)) {
		f := strings.Split(l, ":")
		if len(f) > 2 && f[0] == name {
			return strconv.Atoi(f[2])
		}
	}
	return 0, fmt.Errorf("no %q in %s", name, table)
}

func ln(c *call) error {
	opt, rest, err := flags(c.args, "sfn")
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return c.usage("[-sf] TARGET NAME")
	}
	name := rest[1]
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		name = filepath.Join(name, filepath.Base(rest[0]))
	}
	if _, ok := opt['f']; ok {
		os.Remove(name)
	}
	if _, ok := opt['s']; ok {
		return os.Symlink(rest[0], name)
	}
	return os.Link(rest[0], name)
}

func rmdir(c *call) error {
	for _, p := range c.args {
		if err := syscall.Rmdir(p); err != nil {
			return &os.PathError{Op: "rmdir", Path: p, Err: err}
		}
	}
	return nil
}

func readlink(c *call) error {
	opt, rest, err := flags(c.args, "fn")
	if err != nil {
		return err
	}
	for _, p := range rest {
		var to string
		if _, ok := opt['f']; ok || c.name == "realpath" {
			if to, err = filepath.Abs(p); err == nil {
				to, err = filepath.EvalSymlinks(to)
			}
		} else {
			to, err = os.Readlink(p)
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, to)
	}
	return nil
}

func stat(c *call) error {
	for _, p := range c.args {
		fi, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		fmt.Fprintf(c.out, "  File: %s\n  Size: %d  Blocks: %d  Inode: %d  Links: %d\n", p, st.Size, st.Blocks, st.Ino, st.Nlink)
		fmt.Fprintf(c.out, "Access: (%04o/%s)  Uid: %d  Gid: %d\nModify: %s\n", st.Mode&0o7777, fi.Mode(), st.Uid, st.Gid, fi.ModTime().Format(time.RFC3339Nano))
	}
	return nil
}

// test runs the shell's own.
func test(c *call) error {
	if c.name == "[" {
		if n := len(c.args); n == 0 || c.args[n-1] != "]" {
			return fmt.Errorf("missing ]")
		}
		c.args = c.args[:len(c.args)-1]
	}
	c.name = "test"
	return viaShell(c)
}

func du(c *call) error {
	opt, rest, err := flags(c.args, "shk")
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		rest = []string{"."}
	}
	_, human := opt['h']
	for _, root := range rest {
		var sum int64
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return nil // gone meanwhile
			}
			sum += fi.Sys().(*syscall.Stat_t).Blocks * 512
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s\t%s\n", amount(uint64(sum), human), root)
	}
	return nil
}

// amount is a size in KiB, or with a unit.
func amount(n uint64, human bool) string {
	if !human {
		return strconv.FormatUint(n/1024, 10)
	}
	return size(n)
}

func size(n uint64) string {
	f, u := float64(n), 0
	for f >= 1024 && u < 5 {
		f /= 1024
		u++
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGTP"[u])
}

func df(c *call) error {
	opt, rest, err := flags(c.args, "hk")
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		rest = []string{"/"}
	}
	_, human := opt['h']
	fmt.Fprintf(c.out, "%12s %12s %12s  %s\n", "size", "used", "available", "mounted on")
	for _, p := range rest {
		var st unix.Statfs_t
		if err := unix.Statfs(p, &st); err != nil {
			return &os.PathError{Op: "statfs", Path: p, Err: err}
		}
		b := uint64(st.Bsize)
		fmt.Fprintf(c.out, "%12s %12s %12s  %s\n", amount(st.Blocks*b, human), amount((st.Blocks-st.Bfree)*b, human), amount(st.Bavail*b, human), p)
	}
	return nil
}

func mountProgram(c *call) error {
	opt, rest, err := flags(c.args, "t:o:")
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		f, err := os.Open("/proc/self/mounts")
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(c.out, f)
		return err
	}
	if len(rest) != 2 {
		return c.usage("[-t TYPE] [-o OPTIONS] SOURCE TARGET")
	}
	var bits uintptr
	var data []string
	for _, o := range strings.Split(opt['o'], ",") {
		b, ok := map[string]uintptr{"": 0, "bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC, "ro": unix.MS_RDONLY, "remount": unix.MS_REMOUNT, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC}[o]
		if bits |= b; !ok {
			data = append(data, o)
		}
	}
	return os.NewSyscallError("mount", unix.Mount(rest[0], rest[1], opt['t'], bits, strings.Join(data, ",")))
}

func umount(c *call) error {
	opt, rest, err := flags(c.args, "l")
	if err != nil {
		return err
	}
	flag := 0
	if _, ok := opt['l']; ok {
		flag = unix.MNT_DETACH
	}
	for _, p := range rest {
		if err := unix.Unmount(p, flag); err != nil {
			return &os.PathError{Op: "umount", Path: p, Err: err}
		}
	}
	return nil
}

func syncProgram(*call) error { unix.Sync(); return nil }

func which(c *call) error {
	for _, n := range c.args {
		p, err := exec.LookPath(n)
		if err != nil {
			return exit(1)
		}
		fmt.Fprintln(c.out, p)
	}
	return nil
}

// follow shows what is appended to a file.
func follow(c *call, name string, n int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lastLines(c, f, n); err != nil {
		return err
	}
	for {
		if _, err := io.Copy(flushing{c.out, c}, f); err != nil {
			return err
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}
