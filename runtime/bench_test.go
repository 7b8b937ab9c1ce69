package runtime

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"hoy/linux/pidfd"
	"hoy/linux/spawn"
)

// BenchmarkStart measures a container from its spec to its exec, and reports where
// the time goes: making it ready outside, loading the plan, and the child's part.
func BenchmarkStart(b *testing.B) {
	for _, userNS := range []bool{false, true} {
		for _, groups := range []bool{false, true} {
			b.Run(fmt.Sprintf("userns=%v/cgroup=%v", userNS, groups), func(b *testing.B) { benchmarkStart(b, userNS, groups) })
		}
	}
}

func benchmarkStart(b *testing.B, userNS, groups bool) {
	x := newBox(b, userNS)
	x.spec.Process.Args = []string{"/bin/busybox", "true"}
	x.copy("/bin/busybox", "bin/busybox")
	if groups {
		x.spec.Mounts = append(x.spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	var prepare, load, run time.Duration
	for i := 0; b.Loop(); i++ {
		if groups {
			x.spec.Linux.CgroupsPath = fmt.Sprintf("/hoy-runtime-bench-%d-%d", os.Getpid(), i)
		}
		root := x.root()
		x.c.Root = root
		start := time.Now()
		p, err := x.rt.Prepare(x.c)
		if err != nil {
			b.Fatal(err)
		}
		ready := time.Now()
		prog, err := spawn.Load(p.Plan.Memfd, p.Plan.Files, [3]*os.File{null, null, null})
		if err != nil {
			b.Fatal(err)
		}
		loaded := time.Now()
		child, err := prog.Start(10 * time.Second)
		if err != nil {
			b.Fatal(p.Explain(err))
		}
		run += time.Since(loaded)
		prepare, load = prepare+ready.Sub(start), load+loaded.Sub(ready)
		b.StopTimer()
		pidfd.Wait(b.Context(), child.Pidfd)
		pidfd.Reap(child.Pidfd)
		child.Pidfd.Close()
		p.Close()
		root.Close()
		p.Abort()
		b.StartTimer()
	}
	for name, d := range map[string]time.Duration{"prepare": prepare, "load": load, "child": run} {
		b.ReportMetric(float64(d.Microseconds())/float64(b.N), name+"-µs/op")
	}
}

// BenchmarkExec measures a process started in a running container, to its exec.
func BenchmarkExec(b *testing.B) {
	x := newBox(b, false)
	x.copy("/bin/busybox", "bin/busybox")
	r := x.start("hold")
	defer r.kill()
	var prepare, run time.Duration
	for b.Loop() {
		start := time.Now()
		p, err := r.exec(func(e *Exec) {
			e.Process.Args = []string{"/bin/busybox", "true"}
			e.Stdio = false
		})
		if err != nil {
			b.Fatal(err)
		}
		ready := time.Now()
		prog, err := spawn.Load(p.Plan.Memfd, p.Plan.Files, [3]*os.File{})
		if err != nil {
			b.Fatal(err)
		}
		child, err := prog.Start(10 * time.Second)
		if err != nil {
			b.Fatal(p.Explain(err))
		}
		prepare, run = prepare+ready.Sub(start), run+time.Since(ready)
		b.StopTimer()
		pidfd.Wait(b.Context(), child.Pidfd)
		pidfd.Reap(child.Pidfd)
		child.Pidfd.Close()
		p.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(prepare.Microseconds())/float64(b.N), "prepare-µs/op")
	b.ReportMetric(float64(run.Microseconds())/float64(b.N), "child-µs/op")
}
