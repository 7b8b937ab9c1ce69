package build

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/secrets/secretsprovider"

	"hoy/test/eventually"
	"hoy/test/rootful"
)

const killedFile = `FROM busybox
RUN echo first > /first
RUN --mount=type=secret,id=s --mount=type=cache,target=/c sleep 1000
`

func killedOptions(o *client.SolveOpt) {
	o.FrontendAttrs = map[string]string{"cgroup-parent": "/hoy-build-killed/parent"}
	o.Session = append(o.Session, secretsprovider.FromMap(map[string][]byte{"s": []byte("x")}))
}

// TestKilledEngine kills an engine in the middle of a step. The step is gone with it, the
// next engine finds what was built before in the cache, and nothing else.
func TestKilledEngine(t *testing.T) {
	if dir := os.Getenv("HOY_BUILD_KILLED"); dir != "" {
		h := &bench{t: t, dir: dir}
		h.open()
		h.busybox()
		h.build(t.Context(), killedFile, nil, killedOptions)
		t.Fatal("the build has ended")
	}
	rootful.Check(t)
	h := &bench{t: t, dir: t.TempDir()}
	program := keeperProgram(t)
	c := exec.Command(os.Args[0], "-test.run=^TestKilledEngine$")
	c.Env = append(os.Environ(), "HOY_BUILD_KILLED="+h.dir, "HOY_BUILD_KEEPER="+program)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	h.stepWith("sleep 1000")
	c.Process.Kill()
	c.Wait()
	h.open()
	defer h.close()
	eventually.True(t, "the step does not outlive its engine", func() bool { return len(processes("sleep 1000")) == 0 })
	if h.b.o.Cgroups.Exists("/hoy-build-killed") {
		t.Error("the cgroups above the step are left")
	}
	if at, err := mountsBelow(h.dir); err != nil || len(at) > 0 {
		t.Errorf("mounts are left: %v, %v", at, err)
	}
	got, err := h.build(t.Context(), strings.Replace(killedFile, "sleep 1000", "ls /run/secrets", 1), nil, killedOptions)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(got.cached, "\n"), "RUN echo first") {
		t.Errorf("of the cache are %q, and were run %q", got.cached, got.ran)
	}
	if left, _ := filepath.Glob(filepath.Join(h.execRoot(), "build/*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func (h *bench) stepWith(command string) {
	eventually.True(h.t, "the step "+command, func() bool { return len(processes(command)) > 0 })
}

// processes lists those with a command line.
func processes(command string) (pids []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		b, _ := os.ReadFile(p)
		if strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " ")) == command {
			pids = append(pids, filepath.Base(filepath.Dir(p)))
		}
	}
	return pids
}

// TestPowerLoss has the records of a cache be of a boot that has ended without a word, or
// be cut off: the next build finds none, and works.
func TestPowerLoss(t *testing.T) {
	if dir := os.Getenv("HOY_BUILD_IN"); dir != "" {
		h := &bench{t: t, dir: dir}
		h.open()
		h.busybox()
		if _, err := h.build(t.Context(), "FROM busybox\nRUN echo first > /first\n", nil); err != nil {
			t.Fatal(err)
		}
		h.close()
		return
	}
	for name, lose := range map[string]func(root string) error{
		"another boot": func(root string) error {
			return errors.Join(os.WriteFile(filepath.Join(root, "unsynced"), []byte("of another boot\n"), 0o600),
				os.WriteFile(filepath.Join(root, "metadata.db"), make([]byte, 64<<10), 0o600))
		},
		"cut off": func(root string) error { return os.Truncate(filepath.Join(root, "metadata.db"), 16<<10) },
		"overwritten": func(root string) error {
			return os.WriteFile(filepath.Join(root, "history.db"), make([]byte, 64<<10), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) { powerLoss(t, lose) })
	}
}

func powerLoss(t *testing.T, lose func(root string) error) {
	rootful.Check(t)
	h := &bench{t: t, dir: t.TempDir()}
	c := exec.Command(os.Args[0], "-test.run=^TestPowerLoss$")
	c.Env = append(os.Environ(), "HOY_BUILD_IN="+h.dir, "HOY_BUILD_KEEPER="+keeperProgram(t))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root := filepath.Join(h.dir, "build")
	if _, err := os.Lstat(filepath.Join(root, "unsynced")); !os.IsNotExist(err) {
		t.Errorf("an engine that has ended leaves its mark: %v", err)
	}
	if err := lose(root); err != nil {
		t.Fatal(err)
	}
	h.open()
	defer h.close()
	got, err := h.build(t.Context(), "FROM busybox\nRUN echo first > /first\n", nil)
	if err != nil || len(got.cached) > 1 { // the image is here
		t.Errorf("%v; of the cache are %q", err, got.cached)
	}
}
