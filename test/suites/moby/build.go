package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is where the tests come from. It is not among the project's own.
const (
	name   = "github.com/moby/moby/v2"
	module = name + "@v2.0.0-beta.24"
)

// build makes the tests' programs and copies what they read, where that is not done.
func (o *options) build() error {
	out, err := command("/", "go", "mod", "download", "-json", module).Output()
	if err != nil {
		return fmt.Errorf("cannot download %s: %w", module, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	if err := o.buildTests(m.Dir); err != nil {
		return err
	}
	for _, p := range append([]string{"hello", "ping"}, inContainers...) {
		c := command("", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(o.cache, p), "./test/suites/moby/"+p)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build the stand-in of %s: %w\n%s", p, err, out)
		}
	}
	for name, program := range onHost {
		if err := os.MkdirAll(o.tools(), 0o755); err != nil {
			return err
		}
		if err := replaceLink(filepath.Join("..", program), filepath.Join(o.tools(), name)); err != nil {
			return err
		}
	}
	if o.reference != "" {
		return nil
	}
	// The reference engine's directory has it.
	if out, err := command("", "test/runcshim.sh", o.tools()).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build containerd's shim for runc: %w\n%s", err, out)
	}
	return o.link()
}

// Stand-ins for programs that tests use in containers, and on the machine itself: there is
// none, or another than moby's tests mean.
var (
	inContainers = []string{"wget", "nc", "dnsd"}
	onHost       = map[string]string{"nc": "nc", "ping": "ping", "ping6": "ping"}
)

func replaceLink(to, name string) error {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(to, name)
}

// buildTests makes the programs that are missing. moby is the module's directory.
func (o *options) buildTests(moby string) error {
	if err := o.removeOutdated(); err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(o.packages), func(p string) bool {
		_, err := os.Stat(o.program(p))
		return err == nil
	})
	if len(missing) == 0 {
		return nil
	}
	source, err := o.source(moby)
	if err != nil {
		return err
	}
	for _, p := range missing {
		fmt.Println("building", p)
		if err := o.copyFolder(p, moby); err != nil {
			return err
		}
		c := command(source, "go", "test", "-trimpath", "-c", "-o", o.program(p), "./integration/"+p)
		c.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build moby's tests of %s: %w\n%s", p, err, out)
		}
	}
	return nil
}

// removeOutdated removes the programs if they were built with other changes than these.
func (o *options) removeOutdated() error {
	now, err := changed()
	if err != nil {
		return err
	}
	path := filepath.Join(o.cache, "changes")
	if was, err := os.ReadFile(path); err == nil && string(was) == now {
		return nil
	}
	programs, err := filepath.Glob(filepath.Join(o.cache, "*.test"))
	if err != nil {
		return err
	}
	for _, p := range programs {
		if err := os.Remove(p); err != nil {
			return err
		}
	}
	return errors.Join(os.MkdirAll(o.cache, 0o755), os.WriteFile(path, []byte(now), 0o644))
}

// copyFolder copies what the tests of a package read.
func (o *options) copyFolder(p, moby string) error {
	dir := o.folder(p)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(moby, "integration", p))); err != nil {
		return err
	}
	// Where the programs look for their sources, to show what did not hold.
	sources := filepath.Join(dir, filepath.Dir(name))
	if err := os.MkdirAll(sources, 0o755); err != nil {
		return err
	}
	return os.Symlink(moby, filepath.Join(dir, name))
}

// wrapper starts hoyd as the tests mean it: the bridge has the name that dockerd's has, the
// file that they want read as the host's resolv.conf lies in its place, and what shall fail
// fails where it does in dockerd.
const wrapper = `#!/bin/sh
if [ -n "$DOCKER_TEST_BRIDGE_INIT_ERROR" ]; then
	export HOY_FAILPOINT="network.create.ruled@$DOCKER_TEST_BRIDGE_INIT_ERROR=error,network.open.up@$DOCKER_TEST_BRIDGE_INIT_ERROR=error"
elif [ -n "$DOCKER_TEST_RO_DISABLE_IPV6" ]; then
	export HOY_FAILPOINT=network.attach.silenced=error
fi
case " $* " in
*" --bridge "*|*" --bridge="*|*" -b"*|*" --version"*) ;;
*) set -- "$@" --bridge docker0 ;;
esac
if [ "$1" = --version ]; then
	exec %[1]s --version
fi
if [ -n "$DOCKER_TEST_RESOLV_CONF_PATH" ]; then
	exec unshare --mount --propagation unchanged sh -c '
		mount --make-slave / && mount --bind "$DOCKER_TEST_RESOLV_CONF_PATH" /etc/resolv.conf && exec "$@"' sh %[1]s "$@"
fi
exec %[1]s "$@"
`

// link puts hoyd under the name of dockerd, behind the wrapper, into directories of their
// own.
func (o *options) link() error {
	if err := os.MkdirAll(o.bin(), 0o755); err != nil {
		return err
	}
	hoyd, err := filepath.Abs("bin/hoyd")
	if err != nil {
		return err
	}
	name := filepath.Join(o.bin(), "dockerd")
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	linked := filepath.Join(o.cache, "linked", "dockerd")
	if err := errors.Join(os.RemoveAll(filepath.Dir(linked)), os.Mkdir(filepath.Dir(linked), 0o755), os.Symlink(hoyd, linked)); err != nil {
		return err
	}
	return os.WriteFile(name, fmt.Appendf(nil, wrapper, linked), 0o755)
}

// bin is the directory of the engine under test.
func (o *options) bin() string {
	if o.reference != "" {
		return o.reference
	}
	return filepath.Join(o.cache, "bin")
}

// tools is the directory of what the tests run on the machine itself.
func (o *options) tools() string { return filepath.Join(o.cache, "tools") }

func (o *options) program(p string) string {
	return filepath.Join(o.cache, strings.ReplaceAll(p, "/", "-")+".test")
}

// folder is a package's copy, where its tests run.
func (o *options) folder(p string) string { return filepath.Join(o.cache, "integration", p) }

func command(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = dir
	return c
}
