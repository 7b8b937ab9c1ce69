package engine

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the page of limits anew")

// TestLimits holds every line of the table on this kernel: the option reaches the
// kernel's file with the value, or is answered with the words.
func TestLimits(t *testing.T) {
	e := withBusybox(t, realtime()...)
	device, number := blockDevice(t)
	for i, l := range Limits() {
		t.Run(l.Option, func(t *testing.T) {
			shown := l.V1
			if IsV2() && !l.Plain {
				shown = l.V2
			}
			replace := strings.NewReplacer("{dev}", device, "{n}", number)
			args := append([]string{"run", "-d", "--name", fmt.Sprint("limited", i)}, words(replace.Replace(l.Option))...)
			r := e.Try(append(args, "busybox", "sleep", "1000")...)
			want, answered := strings.CutPrefix(string(shown), "(")
			switch {
			case answered && want == "a program in the kernel)": // TestDeviceRules shows it
			case answered:
				if !strings.Contains(r.Stderr, strings.TrimSuffix(want, ")")) {
					t.Errorf("answered: %q, want %q", r.Stderr, want)
				}
			case r.Code != 0:
				t.Errorf("exit code %d: %s", r.Code, r.Stderr)
			default:
				c := limited{e, e.Hoy("inspect", "-f", "{{.State.Pid}}", fmt.Sprint("limited", i))}
				file, value, _ := strings.Cut(replace.Replace(string(shown)), ": ")
				if got := c.file(t, file, l.Plain); !shows(got, value) {
					t.Errorf("%s is\n%s\nwant the line %q", file, got, value)
				}
			}
			if r.Code == 0 {
				e.Hoy("rm", "-f", fmt.Sprint("limited", i))
			}
		})
	}
	e.nothingLeft()
}

// words splits a command line at its spaces, those in quotes excepted.
func words(s string) []string {
	quoted := false
	parts := strings.FieldsFunc(s, func(r rune) bool {
		quoted = quoted != (r == '"')
		return r == ' ' && !quoted
	})
	for i := range parts {
		parts[i] = strings.Trim(parts[i], `"`)
	}
	return parts
}

// shows says whether one line of a file has all words of want, in their order.
func shows(content, want string) bool {
	for line := range strings.Lines(content) {
		rest, ok := line, true
		for w := range strings.FieldsSeq(want) {
			_, rest, ok = strings.Cut(rest, w)
			if !ok {
				break
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// realtime are the flags of an engine that can give realtime budgets away.
func realtime() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); err != nil {
		return nil
	}
	return []string{"--cpu-rt-runtime", "20000"}
}

// blockDevice finds a device that block I/O can be limited of, with a scheduler that
// knows weights.
func blockDevice(t *testing.T) (path, number string) {
	t.Helper()
	for _, name := range []string{"nullb0", "loop7"} {
		scheduler := "/sys/block/" + name + "/queue/scheduler"
		before, err := os.ReadFile(scheduler)
		if err != nil {
			continue
		}
		if err := os.WriteFile(scheduler, []byte("bfq"), 0); err != nil {
			t.Fatalf("cannot give %s a scheduler with weights: %v", name, err)
		}
		_, old, _ := strings.Cut(string(before), "[")
		old, _, _ = strings.Cut(old, "]")
		t.Cleanup(func() { os.WriteFile(scheduler, []byte(old), 0) })
		var st unix.Stat_t
		if err := unix.Stat("/dev/"+name, &st); err != nil {
			t.Fatal(err)
		}
		return "/dev/" + name, fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	t.Fatal("there is no block device to limit")
	return "", ""
}

// TestLimitsBite shows that what the kernel was told has its effect.
func TestLimitsBite(t *testing.T) {
	e := withBusybox(t)
	// Memory: whoever takes more is killed, and the engine says why.
	e.Hoy("create", "--name", "hungry", "--memory", "16m", "--memory-swap", "16m", "busybox", "sh", "-c", "head -c 64m /dev/zero | tail")
	e.Try("start", "-a", "hungry")
	if got := e.Hoy("inspect", "-f", "{{.State.OOMKilled}}", "hungry"); got != "true" {
		t.Errorf("OOMKilled is %s", got)
	}
	e.Hoy("rm", "hungry")
	e.holds([][3]string{
		// Processes: 10 is the shell and nine more.
		{"run --rm --pids-limit 10 busybox", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done 2>&1 | grep -c -m1 fork; kill $(jobs -p) 2>/dev/null", "1"},
		{"run --rm --ulimit nofile=8:8 busybox", "(exec 20</dev/null) 2>&1 | grep -c descriptor", "1"},
		{"run --rm --shm-size 64k busybox", "head -c 100k /dev/zero 2>/dev/null >/dev/shm/x; stat -c %s /dev/shm/x", "65536"},
		{"run --rm --sysctl net.core.somaxconn=77 busybox", "cat /proc/sys/net/core/somaxconn", "77"},
	})
	// Processor: a spinning container is held back.
	e.Hoy("run", "-d", "--name", "spinning", "--cpus", "0.05", "busybox", "sh", "-c", "while :; do :; done")
	c := limited{e, e.Hoy("inspect", "-f", "{{.State.Pid}}", "spinning")}
	e.Eventually("throttling", func() bool {
		for line := range strings.Lines(c.file(t, "cpu.stat", false)) {
			if n, ok := strings.CutPrefix(line, "nr_throttled "); ok && strings.TrimSpace(n) != "0" {
				return true
			}
		}
		return false
	})
	e.Hoy("rm", "-f", "spinning")
	e.nothingLeft()
}

// TestDeviceRules opens devices that were given, in whatever way, and others.
func TestDeviceRules(t *testing.T) {
	e := withBusybox(t)
	const open = `for d in "$@"; do (exec 3<$d) 2>/dev/null && echo -n "$d yes " || echo -n "$d no "; done`
	try := func(flags, want string, devices ...string) {
		t.Helper()
		args := append([]string{"run", "--rm", "--cap-add", "MKNOD"}, words(flags)...)
		r := e.Try(append(append(args, "busybox", "sh", "-c", "mknod /k c 10 229; mknod /f c 1 3; "+open, "sh"), devices...)...)
		if got := strings.TrimSpace(r.Stdout + r.Stderr); got != want {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
	}
	try("", "/k no /f yes", "/k", "/f")
	try(`--device-cgroup-rule "c 10:229 r"`, "/k yes", "/k")
	try(`--device-cgroup-rule "c 10:* rwm"`, "/k yes", "/k")
	try("--device /dev/fuse", "/dev/fuse yes /k yes", "/dev/fuse", "/k")
	try("--device /dev/fuse:/dev/log:r", "/dev/log yes", "/dev/log")
	try("--device /dev/fuse:/dev/log:m", "/dev/log no", "/dev/log")
	try("--privileged", "/k yes /dev/fuse yes", "/k", "/dev/fuse")
	link := t.TempDir() + "/link"
	if err := os.Symlink("/dev/fuse", link); err != nil {
		t.Fatal(err)
	}
	try("--device "+link+":/dev/through", "/dev/through yes", "/dev/through")
	try("--device /dev/net:/dev/tree", "/dev/tree/tun yes", "/dev/tree/tun")
	e.refused(map[string]string{"--device /bin/busybox": "not a device node", "--device /dev/null:/dev/null:xy": "bad mode specified"})
	r := e.Try("run", "--rm", "--device", "/dev/none", "busybox", "true")
	if r.Code != 127 || !strings.Contains(r.Stderr, `error gathering device information while adding custom device "/dev/none"`) {
		t.Errorf("a device that is not there: %+v", r)
	}
}

// TestLimitsPage holds PARITY.md to the table.
func TestLimitsPage(t *testing.T) {
	path := Root() + "/PARITY.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- limits -->\n", "<!-- end -->"
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("PARITY.md has no part for limits")
	}
	if want := LimitsPage(); got != want {
		if !*update {
			t.Fatal("the limits of PARITY.md are not those of the tests: go test ./test/engine -run LimitsPage -update writes them anew")
		}
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
