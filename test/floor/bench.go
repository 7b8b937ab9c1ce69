package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/linux/caps"
	"hoy/linux/cgroup"
	"hoy/linux/mount"
	"hoy/linux/pidfd"
	"hoy/linux/seccomp"
	"hoy/linux/spawn"
	"hoy/runtime"
)

// bench starts containers by hoy's runtime and spawn script, in one process.
type bench struct {
	dir    string
	rt     *runtime.Runtime
	groups *cgroup.Host
	filter *specs.LinuxSeccomp
	spec   *specs.Spec
	null   *os.File
	next   int

	held      spawn.Child // the container that execs go into
	heldGroup *cgroup.Group
	made      int // groups of a container

	loaded  time.Time            // when the last program was ready to be started
	steps   map[string][]float64 // microseconds of each part of a start
	started map[string][]float64 // those of the last round of starts
	entered map[string][]float64 // and of execs
}

// step records how long a part of a start took that began at begin.
func (b *bench) step(name string, begin time.Time) {
	b.steps[name] = append(b.steps[name], micro(time.Since(begin)))
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// newBench makes everything that an engine has at hand, and writes the file that the
// floor reads.
func newBench(dir string) (b *bench, err error) {
	b = &bench{dir: dir, steps: map[string][]float64{}}
	if b.filter, err = seccomp.Default(caps.Default()); err != nil {
		return nil, err
	}
	b.spec = spec(b.filter)
	if b.groups, err = cgroup.Open(""); err != nil {
		return nil, err
	}
	if b.rt, err = runtime.New(runtime.Config{Cgroups: b.groups}); err != nil {
		return nil, err
	}
	if b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	b.spec.Process.Args = []string{"/bin/pause"}
	if b.held, b.heldGroup, err = b.start(); err != nil {
		return nil, err
	}
	b.spec.Process.Args = []string{"/bin/true"}
	return b, b.describe()
}

// describe writes the floor's file, with groups like those of the held container.
func (b *bench) describe() error {
	var groups []string
	if b.heldGroup != nil {
		var err error
		if groups, err = groupsNamed(filepath.Base(b.heldGroup.Path())); err != nil {
			return err
		}
	}
	for i := range groups {
		groups[i] += "-floor"
	}
	b.made = len(groups)
	text, err := describe(b.spec, b.dir, groups)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "container"), []byte(text), 0o600)
}

func (b *bench) groupMode() string {
	if b.heldGroup == nil {
		return "none"
	}
	return fmt.Sprintf("%s, %d groups", b.groups.Mode(), b.made)
}

func (b *bench) close() {
	pidfd.Signal(b.held.Pidfd, unix.SIGKILL)
	reap(b.held)
	if b.heldGroup != nil {
		b.heldGroup.Remove()
	}
	b.null.Close()
	b.rt.Close()
}

// start starts a container and returns when its program has been exec'ed.
func (b *bench) start() (spawn.Child, *cgroup.Group, error) {
	b.next++
	begin := time.Now()
	layer := func(kind string) string { return filepath.Join(b.dir, "scratch", fmt.Sprint(kind, b.next)) }
	for _, d := range []string{layer("upper"), layer("work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return spawn.Child{}, nil, err
		}
	}
	root, err := mount.Overlay(mount.OverlayConfig{Lower: []string{filepath.Join(b.dir, "lower")}, Upper: layer("upper"), Work: layer("work")})
	if err != nil {
		return spawn.Child{}, nil, err
	}
	defer root.Close()
	b.step("overlay", begin)
	begin = time.Now()
	b.spec.Linux.CgroupsPath = fmt.Sprintf("/hoy-floor-%d-%d", os.Getpid(), b.next)
	p, err := b.rt.Prepare(runtime.Container{ID: "floor", Spec: b.spec, Root: root, Stdio: true})
	if err != nil {
		return spawn.Child{}, nil, err
	}
	defer p.Close()
	b.step("prepare", begin)
	c, err := b.launch(p)
	if err != nil {
		p.Abort()
	}
	return c, p.Cgroup, err
}

func (b *bench) launch(p *runtime.Prepared) (spawn.Child, error) {
	begin := time.Now()
	prog, err := spawn.Load(p.Plan.Memfd, p.Plan.Files, [3]*os.File{b.null, b.null, b.null})
	if err != nil {
		return spawn.Child{}, err
	}
	b.step("load", begin)
	begin = time.Now()
	b.loaded = begin
	c, err := prog.Start(10 * time.Second)
	b.step("clone to exec", begin)
	if err != nil {
		err = p.Explain(err)
	}
	return c, err
}

func reap(c spawn.Child) error {
	defer c.Pidfd.Close()
	if err := pidfd.Wait(context.Background(), c.Pidfd); err != nil {
		return err
	}
	s, err := pidfd.Reap(c.Pidfd)
	if err == nil && s != 0 {
		err = fmt.Errorf("the container ended with %#x", s)
	}
	return err
}

// measure times n starts of something, each until it was reaped.
func (b *bench) measure(n int, start func() (spawn.Child, error), after func() error) (s samples, err error) {
	for range n {
		begin := time.Now()
		c, err := start()
		exec := time.Since(begin)
		if err != nil {
			return s, err
		}
		if err := reap(c); err != nil {
			return s, err
		}
		s.prepared = append(s.prepared, micro(b.loaded.Sub(begin)))
		s.add(micro(exec), micro(time.Since(begin)))
		if err := after(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (b *bench) starts(n int) (samples, error) {
	var group *cgroup.Group
	b.steps = map[string][]float64{}
	start := func() (c spawn.Child, err error) {
		c, group, err = b.start()
		return c, err
	}
	s, err := b.measure(n, start, func() error {
		if group == nil {
			return nil
		}
		return group.Remove()
	})
	b.started, b.steps = b.steps, map[string][]float64{}
	return s, err
}

// execs runs programs in the held container.
func (b *bench) execs(n int) (samples, error) {
	start := func() (spawn.Child, error) {
		p, err := b.rt.PrepareExec(runtime.Exec{
			Pidfd: b.held.Pidfd, Pid: b.held.Pid, Cgroup: b.heldGroup, Process: b.spec.Process, Seccomp: b.filter,
			Stdio: true, ContainerCaps: b.spec.Process.Capabilities.Bounding,
		})
		if err != nil {
			return spawn.Child{}, err
		}
		defer p.Close()
		return b.launch(p)
	}
	s, err := b.measure(n, start, func() error { return nil })
	b.entered, b.steps = b.steps, map[string][]float64{}
	return s, err
}
