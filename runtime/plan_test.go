package runtime

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/spawn"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got\n%s", path, got)
	}
}

// dump lists the calls of a plan, "step object: system call".
func dump(p *spawn.Plan) string {
	var b strings.Builder
	for i := range spawn.MaxCalls + 1 {
		line := p.Explain(&spawn.StepError{Index: i, Errno: unix.EIO}).Error()
		if strings.HasPrefix(line, "cannot run a spawn script") {
			break
		}
		line = strings.TrimSuffix(strings.TrimPrefix(line, "cannot "), ": "+unix.EIO.Error())
		if strings.HasPrefix(line, "drop capability") && strings.Contains(b.String(), "drop capability") {
			continue // one of them stands for all
		}
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// goldenSpec makes a box whose plan does not depend on the machine.
func goldenSpec(b *box) {
	b.spec.Linux.MaskedPaths = []string{"/proc/timer_list", "/proc/interrupts", "/sys/firmware", "/sys/devices/system"}
	b.spec.Linux.ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}
	b.rt.security = security{}
	b.rt.held |= 1 << unix.CAP_SYS_RESOURCE
}

func (b *box) plan() string {
	b.t.Helper()
	b.spec.Process.Args = []string{"init"}
	root := b.root()
	defer root.Close()
	b.c.Root = root
	p, err := b.rt.Prepare(b.c)
	if err != nil {
		b.t.Fatal(err)
	}
	defer p.Close()
	return dump(p.Plan)
}

// TestPlan shows what the child does, in its order.
func TestPlan(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		goldenSpec(b)
		name := "host-user"
		if b.userNS {
			name = "user-ns"
		}
		golden(t, name+"-default.txt", b.plan())
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		b.spec.Process.NoNewPrivileges = true
		b.spec.Process.Terminal = true
		b.spec.Process.Cwd = "/srv"
		b.spec.Root = &specs.Root{Readonly: true}
		b.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
		b.mount("tmpfs", "tmpfs", "/run")
		golden(t, name+"-everything.txt", b.plan())
	})
}

func TestPlanOfExec(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		r := b.start("hold")
		defer r.kill()
		p, err := r.exec(nil, "ids")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		name := "host-user-exec.txt"
		if b.userNS {
			name = "user-ns-exec.txt"
		}
		golden(t, name, dump(p.Plan))
	})
}
