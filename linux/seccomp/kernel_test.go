package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/caps"
)

// asChild makes the test binary install the default filter, and do what it says.
const asChild = "HOY_TEST_SECCOMP"

func TestMain(m *testing.M) {
	if what := os.Getenv(asChild); what != "" {
		child(what)
	}
	os.Exit(m.Run())
}

// install puts the filter on the calling thread.
func install(f Filter) error {
	prog := unix.SockFprog{Len: uint16(len(f.Program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(unsafe.SliceData(f.Program)))}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(f.Flags), uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

func child(what string) {
	runtime.LockOSThread()
	p, err := Default(caps.Default())
	if err == nil {
		var f Filter
		if f, err = Compile(p); err == nil {
			err = install(f)
		}
	}
	if err != nil {
		fmt.Println("cannot install:", err)
		os.Exit(1)
	}
	if what == "exec" {
		err := unix.Exec("/bin/busybox", []string{"busybox", "sh", "-c", "echo from $(busybox grep Seccomp: /proc/self/status)"}, nil)
		fmt.Println("cannot execute:", err)
		os.Exit(1)
	}
	for _, c := range probes {
		_, _, e := unix.RawSyscall6(c.nr, c.a, c.b, 0, 0, 0, 0)
		fmt.Printf("%s %d\n", c.name, int(e))
	}
	os.Exit(0)
}

// probes are calls that could not do harm even if they were let through.
var probes = []struct {
	name string
	nr   uintptr
	a, b uintptr
	want unix.Errno
}{
	{"getpid", unix.SYS_GETPID, 0, 0, 0},
	{"keyctl", unix.SYS_KEYCTL, 99, 0, unix.EPERM},
	{"reboot", unix.SYS_REBOOT, 0, 0, unix.EPERM},
	{"mount", unix.SYS_MOUNT, 0, 0, unix.EPERM},
	{"unshare of a user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER, 0, unix.EPERM},
	{"clone3", unix.SYS_CLONE3, 0, 0, unix.ENOSYS},
	{"clone into a new network", unix.SYS_CLONE, unix.CLONE_NEWNET, 0, unix.EPERM},
	{"personality as it is", unix.SYS_PERSONALITY, 0xffffffff, 0, 0},
	{"personality of SVr4", unix.SYS_PERSONALITY, 1, 0, unix.EPERM},
	{"AF_VSOCK", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, unix.EPERM},
	{"AF_UNIX", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0},
	{"a call not invented yet", 999, 0, 0, unix.ENOSYS},
}

func runChild(t *testing.T, what string) string {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), asChild+"="+what)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestKernel installs docker's default filter and makes calls under it.
func TestKernel(t *testing.T) {
	got := runChild(t, "probe")
	for _, c := range probes {
		if want := fmt.Sprintf("%s %d\n", c.name, int(c.want)); !strings.Contains(got, want) {
			t.Errorf("want %q of\n%s", want, got)
		}
	}
	if out := runChild(t, "exec"); !strings.Contains(out, "Seccomp: 2") {
		t.Errorf("busybox under the filter says %q", out)
	}
}

// list is the filter with the same verdicts as a list of comparisons, for the benchmark.
func list(p *specs.LinuxSeccomp) Filter {
	r, _ := readRules(p)
	abis, _ := abisOf(p.Architectures, native)
	var a assembler
	next := a.put(unix.SockFilter{Code: opRet})
	for _, b := range abis {
		at := a.ret(r.otherwise)
		decisions, _ := r.decide(b, b.number)
		for nr, d := range decisions {
			at = a.jump(opJeq, nr, d.node(b.wide).emit(&a), at)
		}
		next = a.jump(opJeq, b.audit, a.before(opLoad, offsetNumber, at), next)
	}
	a.before(opLoad, offsetArch, next)
	return Filter{Program: a.bytes(), Flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW}
}

// BenchmarkInstall compares what installing costs: the tree, the tree for the native
// architecture alone, and a list.
func BenchmarkInstall(b *testing.B) {
	p, err := Default(caps.Default())
	if err != nil {
		b.Fatal(err)
	}
	tree, err := Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	one := *p
	one.Architectures = nil
	alone, err := Compile(&one)
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]Filter{"tree": tree, "native": alone, "list": list(p)} {
		b.Run(name, func(b *testing.B) {
			var total time.Duration
			for range b.N {
				done := make(chan error)
				go func() {
					runtime.LockOSThread() // and never unlocked: the thread ends with its filter
					begin := time.Now()
					err := install(f)
					total += time.Since(begin)
					done <- err
				}()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(total.Microseconds())/float64(b.N), "µs/install")
			b.ReportMetric(float64(len(f.Program)/8), "instructions")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	p, err := Default(caps.Default())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}
