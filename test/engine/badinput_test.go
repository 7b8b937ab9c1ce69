package engine

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hoy/test/rootful"
)

// TestBadInputIsOneClearLine gives the command line what makes no sense: each is
// refused in one line which names what is wrong, with docker's exit code.
func TestBadInputIsOneClearLine(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("create", "--name", "taken", "busybox", "true")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"run nosuchimage", 125, "nosuchimage"},
		{"run --name taken busybox true", 125, "already in use"},
		{"run --name -x busybox", 125, "name"},
		{"run --name a/b busybox", 125, "a/b"},
		{"run -m 1k busybox", 125, "memory"},
		{"run -m lots busybox", 125, "lots"},
		{"run --cpus x busybox", 125, "x"},
		{"run -v relative:/x:zz busybox", 125, "zz"},
		{"run --network nowhere busybox true", 125, "network nowhere not found"},
		{"run --user nobodyatall busybox true", 125, "nobodyatall"},
		{"run --cap-add NOSUCH busybox", 125, "NOSUCH"},
		{"run --restart sometimes busybox", 125, "sometimes"},
		{"run --sysctl kernel.panic=1 busybox", 125, "kernel.panic"},
		{"run --nosuchflag busybox", 125, "nosuchflag"},
		{"run busybox nosuchcommand", 127, "nosuchcommand"},
		{"run busybox /etc/passwd", 126, "permission denied"},
		{"run busybox /etc", 126, "/etc"},
		{"run -w /etc/passwd busybox true", 125, "/etc/passwd"},
		{"start nosuch", 1, "No such container: nosuch"},
		{"rm nosuch", 1, "No such container: nosuch"},
		{"logs nosuch", 1, "No such container: nosuch"},
		{"exec nosuch true", 1, "No such container: nosuch"},
		{"exec taken true", 1, "not running"},
		{"kill taken", 1, "not running"},
		{"inspect nosuch", 1, "nosuch"},
		{"rmi nosuch", 1, "nosuch"},
		{"nosuchcommand", 1, "nosuchcommand"},
	} {
		r := e.Try(strings.Fields(tc.args)...)
		first, _, _ := strings.Cut(strings.TrimSpace(r.Stderr), "\n")
		if r.Code != tc.code || !strings.Contains(first, tc.says) {
			t.Errorf("hoy %s: exit code %d (want %d), says %q (want %q)", tc.args, r.Code, tc.code, r.Stderr, tc.says)
		}
	}
	e.Try("rm", "-f", "taken")
	for _, id := range strings.Fields(e.Hoy("ps", "-aq")) {
		e.Hoy("rm", id) // run leaves the container whose command was not found, as docker does
	}
	e.nothingLeft()
}

// TestForeignPrograms runs binaries of other systems: the error says whose they are.
func TestForeignPrograms(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	for _, tc := range []struct {
		name string
		head []byte
		says string
	}{
		{"windows", append([]byte("MZ"), make([]byte, 200)...), "Windows"},
		{"arm64", elf(0xb7), "arm64"},
		{"text", []byte("just some text\n"), "exec format error"},
	} {
		tar := tarOf(t, map[string]string{"prog": string(tc.head)})
		if r := e.TryIn(bytes.NewReader(tar), "import", "-", tc.name); r.Code != 0 {
			t.Fatalf("import: %s", r.Stderr)
		}
		if r := e.Try("run", "--rm", tc.name, "/prog"); r.Code == 0 || !strings.Contains(r.Stderr, tc.says) {
			t.Errorf("%s: exit code %d, says %q; want %q", tc.name, r.Code, r.Stderr, tc.says)
		}
	}
	e.nothingLeft()
}

// elf returns the header of a 64-bit little-endian executable for a machine (elf.h).
func elf(machine byte) []byte {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	h[16], h[18], h[20] = 2, machine, 1
	h[52], h[54], h[58] = 64, 56, 64
	return h
}

func TestHugeArguments(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	long := strings.Repeat("a", 100_000)
	if got := e.Hoy("run", "--rm", "busybox", "sh", "-c", "echo ${#1}", "sh", long); got != "100000" {
		t.Errorf("an argument of 100,000 bytes: %q", got)
	}
	r := e.Try("run", "--rm", "busybox", "echo", strings.Repeat("a", 128<<10-1))
	if r.Code != 0 && !strings.Contains(r.Stderr, "argument list too long") {
		t.Errorf("an argument at the kernel's limit: %+v", r)
	}
	var env bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&env, "VARIABLE_%d=value %d\n", i, i)
	}
	file := writeFile(t, filepath.Join(e.Dir, "env"), env.Bytes())
	if got := e.Hoy("run", "--rm", "--env-file", file, "busybox", "sh", "-c", "env | grep -c ^VARIABLE_; echo $VARIABLE_9999"); got != "10000\nvalue 9999" {
		t.Errorf("10,000 variables: %q", got)
	}
	e.nothingLeft()
}

func TestOneNameManyCreators(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	var won, lost atomic.Int32
	parallel(16, 16, func(int) {
		r := e.Try("create", "--name", "con", "busybox", "true")
		switch {
		case r.Code == 0:
			won.Add(1)
		case strings.Contains(r.Stderr, "already in use"):
			lost.Add(1)
		default:
			t.Errorf("%+v", r)
		}
	})
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d created the container, %d were refused", won.Load(), lost.Load())
	}
	e.Hoy("rm", "con")
	e.nothingLeft()
}

// TestStartAgainstRemove starts and removes the same container at the same moment:
// whoever loses gets an error, and nothing is left.
func TestStartAgainstRemove(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	for range 15 {
		e.Hoy("create", "--name", "con", "busybox", "sleep", "1000")
		cmds := [][]string{{"start", "con"}, {"rm", "-f", "con"}, {"start", "con"}, {"rm", "con"}}
		parallel(len(cmds), len(cmds), func(i int) {
			r := e.Try(cmds[i]...)
			if strings.Contains(r.Stderr, "panic") || r.Code > 1 {
				t.Errorf("hoy %v: %+v", cmds[i], r)
			}
		})
		e.Try("rm", "-f", "con")
		if left := e.Hoy("ps", "-aq"); left != "" {
			t.Fatalf("left: %s", left)
		}
	}
	e.nothingLeft()
}
