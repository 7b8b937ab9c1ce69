// Package vm runs test binaries inside a small virtual machine with pure cgroup v2,
// which a hybrid or v1 machine cannot offer them.
//
// One machine is booted for a whole batch, by QEMU without hardware help, with Debian's
// kernel for clouds and an initial RAM disk that holds everything: the modules, a
// static PID 1 (package vm/init), the programs, their files. The machine speaks on its
// serial console, in lines of its own:
//
//	VM-READY                       the machine is prepared
//	VM-START name                  a program begins; what follows is its output
//	VM-END name status duration    it has ended
//	VM-EXIT status                 the verdict: 0, or 1 if a program failed
//	VM-BROKEN reason               the machine cannot be prepared
//
// and gives the verdict again as the status of QEMU.
package vm

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Batch is what one machine runs.
type Batch struct {
	Programs []Program
	Files    map[string]string // path in the machine: file here; copied with its permissions
	Commands []string          // import paths of commands that the tests build with 'go build'
	Memory   int               // MiB; 0 is 1024
	Timeout  time.Duration     // for everything; 0 is 5 minutes
}

// Program is a test binary. Its working directory is its own and holds the package's
// testdata, and nothing else.
type Program struct {
	Name    string   // of the subtest
	Package string   // import path of the package whose tests are built; or
	Path    string   // a static program that is there
	Args    []string // of the program; test binaries get -test.v besides
	Env     []string
}

// Run boots the machine, runs the programs one after another, each as a subtest of t,
// and logs what they print. A program that ends with another status than 0 fails its
// subtest; a machine that does not get to its end fails t.
func Run(t *testing.T, b Batch) {
	t.Helper()
	k := findKernel(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "initrd")
	if err := pack(t, image, dir, k, b); err != nil {
		t.Fatal(err)
	}
	if b.Timeout == 0 {
		b.Timeout = 5 * time.Minute
	}
	if b.Memory == 0 {
		b.Memory = 1024
	}
	for attempt := 1; ; attempt++ {
		m, err := boot(k.image, image, b)
		if err != nil {
			t.Fatal(err)
		}
		ready := m.follow(t, b)
		if ready || attempt == 2 {
			return
		}
		// Emulated, the kernel sometimes panics before it starts PID 1.
		t.Logf("the machine did not get to its first program, and is started again; its console:\n%s", m.console.String())
	}
}

// packer writes the initial RAM disk.
type packer struct {
	*archive
	dir   string // for what is built
	batch strings.Builder
}

// pack writes the initial RAM disk: the kernel unpacks archives that follow one
// another, so the modules' is made only once.
func pack(t *testing.T, image, dir string, k kernel, b Batch) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	modules, err := os.ReadFile(k.modules)
	if err != nil {
		return err
	}
	if _, err := f.Write(modules); err != nil {
		return err
	}
	p := &packer{archive: newArchive(f), dir: dir}
	if err := p.command("hoy/test/vm/init", "init"); err != nil {
		return err
	}
	for _, c := range b.Commands {
		if err := p.command(c, "built/"+c); err != nil {
			return err
		}
	}
	p.add("usr/bin/go", []byte(standIn), 0o755)
	for _, program := range b.Programs {
		if err := p.program(program); err != nil {
			return err
		}
	}
	p.add("batch", []byte(p.batch.String()), 0o644)
	for guest, here := range b.Files {
		p.copy(guest, here, 0)
	}
	return p.close()
}

// standIn is go in the machine: what tests have it build was built outside.
const standIn = `#!/bin/sh
while [ $# -gt 1 ]; do
	[ "$1" = -o ] && out=$2
	shift
done
exec /bin/busybox cp "/built/$1" "$out"
`

func (p *packer) command(pkg, guest string) error {
	out := filepath.Join(p.dir, "command")
	if err := build(out, "build", "-o", out, pkg); err != nil {
		return err
	}
	p.copy(guest, out, 0o755)
	return nil
}

func (p *packer) program(b Program) error {
	path, args := b.Path, b.Args
	if b.Package != "" {
		path, args = filepath.Join(p.dir, "test"), append([]string{"-test.v"}, args...)
		if err := build(path, "test", "-c", "-o", path, b.Package); err != nil {
			return err
		}
		if err := p.testdata(b); err != nil {
			return err
		}
	}
	guest := "programs/" + b.Name
	p.copy(guest, path, 0o755)
	fmt.Fprintf(&p.batch, "name %s\narg /%s\n", b.Name, guest)
	for _, arg := range args {
		fmt.Fprintf(&p.batch, "arg %s\n", arg)
	}
	for _, env := range b.Env {
		fmt.Fprintf(&p.batch, "env %s\n", env)
	}
	return nil
}

// testdata copies the package's testdata to the program's working directory.
func (p *packer) testdata(b Program) error {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", b.Package).Output()
	if err != nil {
		return fmt.Errorf("cannot find package %s: %w", b.Package, err)
	}
	from := strings.TrimSpace(string(out))
	return filepath.WalkDir(filepath.Join(from, "testdata"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(from, file)
		p.copy(filepath.Join("work", b.Name, rel), file, 0)
		return err
	})
}

// build runs go to make a static program for the machine.
func build(out string, args ...string) error {
	c := exec.Command("go", append(args[:1:1], append([]string{"-trimpath", "-ldflags=-s -w"}, args[1:]...)...)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if msg, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w\n%s", filepath.Base(out), err, msg)
	}
	if _, err := os.Stat(out); err != nil {
		return fmt.Errorf("cannot build %s: its package has no tests", filepath.Base(out))
	}
	return nil
}
