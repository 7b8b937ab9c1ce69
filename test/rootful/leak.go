package rootful

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// settle is how long what a test ended may take to disappear: the kernel removes
// network namespaces and dying cgroups on its own time.
const settle = 10 * time.Second

// Check fails t when, at its end, something is there that was not at its start:
// mounts, cgroups whose name contains "hoy", links, nftables tables, child
// processes, namespaces held by them, or open descriptors of the test process.
// Each of dirs must be empty or gone at the end. It calls Need.
func Check(t testing.TB, dirs ...string) {
	t.Helper()
	Need(t)
	unlock := exclusive(t)
	before := survey(nil)
	t.Cleanup(func() {
		defer unlock()
		if t.Failed() {
			return // what broke the test may also have kept it from cleaning up
		}
		deadline := time.Now().Add(settle)
		for {
			left := difference(survey(dirs), before)
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// holders counts the tests of this process that hold the machine's lock.
var holders struct {
	sync.Mutex
	n    int
	lock *os.File
}

// exclusive keeps rootful tests of other processes, such as other packages' tests,
// from running at the same time: what they make would look like a leak.
func exclusive(t testing.TB) (unlock func()) {
	holders.Lock()
	defer holders.Unlock()
	if holders.n == 0 {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), "hoy-rootful.lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			t.Fatalf("cannot lock the machine for a rootful test: %v", err)
		}
		holders.lock = f
	}
	holders.n++
	return func() {
		holders.Lock()
		defer holders.Unlock()
		if holders.n--; holders.n == 0 {
			holders.lock.Close()
		}
	}
}

// survey lists what exists now, one line a thing.
func survey(dirs []string) map[string]bool {
	s := map[string]bool{}
	add := func(kind string, names []string) {
		for _, n := range names {
			s[kind+" "+n] = true
		}
	}
	add("mount", mounts())
	add("cgroup", cgroups())
	add("link", links())
	add("nft table", nftTables())
	add("process", children(os.Getpid()))
	add("descriptor", descriptors())
	for _, d := range dirs {
		add("file", files(d))
	}
	return s
}

func difference(now, before map[string]bool) []string {
	var d []string
	for k := range now {
		if !before[k] {
			d = append(d, k)
		}
	}
	sort.Strings(d)
	return d
}

func lines(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// mounts lists "mountpoint fstype" of the test's mount namespace.
func mounts() []string {
	var m []string
	for _, l := range lines("/proc/self/mountinfo") {
		f := strings.Fields(l)
		for i := range f {
			if f[i] == "-" && i+1 < len(f) {
				m = append(m, f[4]+" "+f[i+1])
				break
			}
		}
	}
	return m
}

// cgroups lists directories named after hoy in every hierarchy, but not those of
// engines that run beside the tests. Only the first four levels are read: engines and
// tests put their groups no deeper.
func cgroups() []string {
	var c []string
	others := neighbours()
	root := "/sys/fs/cgroup"
	filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(root, p)
		if slices.Contains(others, d.Name()) || strings.HasPrefix(d.Name(), "hoy-reference") || strings.HasPrefix(d.Name(), "hoy-suite") {
			return fs.SkipDir
		}
		if strings.Contains(rel, "hoy") {
			c = append(c, rel)
		}
		if strings.Count(rel, "/") >= 4 {
			return fs.SkipDir
		}
		return nil
	})
	return c
}

// neighbours returns the names of the groups of engines and keepers that run on this
// machine and are no test's, by their exec roots.
func neighbours() []string {
	var names []string
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		b, _ := os.ReadFile(path)
		_, rest, found := strings.Cut(string(b), "\x00--exec-root\x00")
		root, _, _ := strings.Cut(rest, "\x00")
		if found && !ofTest(root) {
			h := sha256.Sum256([]byte(root))
			names = append(names, "hoy-"+hex.EncodeToString(h[:4])) // as daemon names an engine's group
		}
	}
	return names
}

// ofTest tells whether a directory is one that tests make: t.TempDir's, or an engine's.
func ofTest(dir string) bool {
	return strings.HasPrefix(dir, os.TempDir()+"/Test") || strings.HasPrefix(dir, os.TempDir()+"/hoy-engine")
}

func links() []string {
	es, _ := os.ReadDir("/proc/self/net/dev_snmp6")
	var l []string
	for _, e := range es {
		l = append(l, e.Name())
	}
	for _, line := range lines("/proc/thread-self/net/dev") {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			l = append(l, name)
		}
	}
	return l
}

func nftTables() []string {
	c, err := nftables.New()
	if err != nil {
		return nil
	}
	ts, err := c.ListTables()
	if err != nil {
		return nil
	}
	var l []string
	for _, t := range ts {
		l = append(l, fmt.Sprintf("%d/%s", t.Family, t.Name))
	}
	return l
}

// children lists processes below pid, zombies too, and those whose command line
// names a hoy engine or keeper started from a test's temporary directory.
func children(pid int) []string {
	parent := map[string]string{}
	name := map[string]string{}
	es, _ := os.ReadDir("/proc")
	for _, e := range es {
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		if open < 0 || end < open {
			continue
		}
		f := strings.Fields(string(b[end+1:]))
		parent[e.Name()] = f[1]
		name[e.Name()] = string(b[open+1 : end])
	}
	var l []string
	self := fmt.Sprint(pid)
	for p := range parent {
		for q := p; q != "" && q != "0" && q != "1"; q = parent[q] {
			if q == self && p != self {
				l = append(l, p+" "+name[p])
				break
			}
		}
		if cmd, err := os.ReadFile("/proc/" + p + "/cmdline"); err == nil && p != self {
			s := string(cmd)
			if slices.ContainsFunc(strings.Split(s, "\x00"), ofTest) && (strings.Contains(s, "hoyd") || strings.Contains(s, "hoy-keeper")) {
				l = append(l, p+" "+name[p])
			}
		}
	}
	return l
}

// descriptors lists the test's own open files by what they refer to. The Go
// runtime's own (epoll, eventfd) and the files of the survey itself are left out.
func descriptors() []string {
	es, _ := os.ReadDir("/proc/self/fd")
	var l []string
	for _, e := range es {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") || strings.HasPrefix(to, "/proc/") {
			continue
		}
		l = append(l, e.Name()+" "+to)
	}
	return l
}

func files(dir string) []string {
	var l []string
	filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && p != dir {
			l = append(l, p)
		}
		return nil
	})
	return l
}

// Namespaces counts the distinct namespaces of a kind ("net", "mnt", …) that
// processes of this machine are in.
func Namespaces(kind string) int {
	seen := map[uint64]bool{}
	es, _ := os.ReadDir("/proc")
	for _, e := range es {
		var st unix.Stat_t
		if unix.Stat("/proc/"+e.Name()+"/ns/"+kind, &st) == nil {
			seen[st.Ino] = true
		}
	}
	return len(seen)
}
