// Command floor measures hoy's start of a container against the least that the kernel
// asks for: c/floor.c, a C program that makes the same container.
//
// Both run in turns, in one mount namespace, from the same image, with the same
// mounts, masks, groups and seccomp program. What is compared begins before the
// preparation (cgroups, overlay, /dev) and ends when the program has been exec'ed,
// or has ended and been reaped.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed c/floor.c
var floorSource []byte

const inside = "HOY_FLOOR_INSIDE"

func main() {
	n := flag.Int("n", 100, "containers in a round")
	rounds := flag.Int("rounds", 6, "rounds of both programs, after one that does not count")
	flag.Parse()
	if err := run(*n, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(n, rounds int) error {
	if os.Getenv(inside) == "" {
		return reexecute()
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := build(dir); err != nil {
		return err
	}
	b, err := newBench(dir)
	if err != nil {
		return err
	}
	defer b.close()
	var floor, hoy, execs samples
	for round := range rounds + 1 {
		f, err := runFloor(dir, n)
		if err != nil {
			return err
		}
		h, err := b.starts(n)
		if err != nil {
			return err
		}
		e, err := b.execs(n)
		if err != nil {
			return err
		}
		if round > 0 {
			floor, hoy, execs = floor.and(f), hoy.and(h), execs.and(e)
		}
	}
	report(b, floor, hoy, execs)
	return nil
}

// reexecute runs this program in a mount namespace of its own.
func reexecute() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root: run it by 'make bench', which becomes root")
	}
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdout, c.Stderr, c.Env = os.Stdout, os.Stderr, append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return c.Run()
}

// scratch mounts a tmpfs that goes away with the mount namespace.
func scratch() (string, error) {
	const dir = "/tmp"
	if err := unix.Mount("floor", dir, "tmpfs", 0, ""); err != nil {
		return "", fmt.Errorf("cannot mount tmpfs on %s: %w", dir, err)
	}
	for _, d := range []string{"scratch", "lower/bin", "lower/tmp", "lower/proc", "lower/sys", "lower/dev", "lower/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// build compiles the floor and the containers' programs.
func build(dir string) error {
	programs := map[string]string{
		"floor":           string(floorSource),
		"lower/bin/true":  "int main(void) { return 0; }\n",
		"lower/bin/pause": "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n",
	}
	for name, source := range programs {
		c := exec.Command("gcc", "-O2", "-Wall", "-static", "-x", "c", "-o", filepath.Join(dir, name), "-")
		c.Stdin, c.Stderr = strings.NewReader(source), os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("cannot compile %s: %w", name, err)
		}
	}
	return nil
}

// runFloor runs n containers in C.
func runFloor(dir string, n int) (s samples, err error) {
	c := exec.Command(filepath.Join(dir, "floor"), filepath.Join(dir, "container"), fmt.Sprint(n))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return s, fmt.Errorf("cannot run the floor: %w", err)
	}
	for l := range strings.Lines(string(out)) {
		var prepared, exec, reaped float64
		if _, err := fmt.Sscan(l, &prepared, &exec, &reaped); err != nil {
			return s, err
		}
		s.prepared = append(s.prepared, prepared)
		s.add(exec, reaped)
	}
	// What the floor leaves is the writable layers.
	return s, removeAll(filepath.Join(dir, "scratch"))
}

func removeAll(dir string) error {
	es, err := os.ReadDir(dir)
	for _, e := range es {
		if err == nil {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// samples are microseconds from the beginning, one of each a container.
type samples struct{ prepared, exec, reaped []float64 }

func (s *samples) add(exec, reaped float64) {
	s.exec, s.reaped = append(s.exec, exec), append(s.reaped, reaped)
}

func (s samples) and(t samples) samples {
	return samples{append(s.prepared, t.prepared...), append(s.exec, t.exec...), append(s.reaped, t.reaped...)}
}

func quantile(v []float64, q float64) float64 {
	slices.Sort(v)
	return v[int(float64(len(v)-1)*q)]
}

func report(b *bench, floor, hoy, execs samples) {
	fmt.Printf("%d containers each, %d processors, cgroups: %s; µs, median (p10–p90)\n", len(hoy.exec), runtime.NumCPU(), b.groupMode())
	line := func(what string, v []float64) {
		fmt.Printf("%-28s %7.0f (%.0f–%.0f)\n", what, quantile(v, .5), quantile(v, .1), quantile(v, .9))
	}
	line("C floor, prepared", floor.prepared)
	line("C floor, to exec", floor.exec)
	line("C floor, to reaped", floor.reaped)
	line("hoy start, prepared", hoy.prepared)
	line("hoy start, to exec", hoy.exec)
	for _, step := range []string{"overlay", "prepare", "load", "clone to exec"} {
		line("  of that, "+step, b.started[step])
	}
	line("hoy start, to reaped", hoy.reaped)
	line("hoy exec, prepared", execs.prepared)
	line("hoy exec, to exec", execs.exec)
	line("  of that, clone to exec", b.entered["clone to exec"])
	line("hoy exec, to reaped", execs.reaped)
	fmt.Printf("hoy / C floor: %.2f to exec (goal 1.15), %.2f to reaped; of the quickest tenths, which a busy machine disturbs least: %.2f, %.2f\n",
		quantile(hoy.exec, .5)/quantile(floor.exec, .5), quantile(hoy.reaped, .5)/quantile(floor.reaped, .5),
		quantile(hoy.exec, .1)/quantile(floor.exec, .1), quantile(hoy.reaped, .1)/quantile(floor.reaped, .1))
}
