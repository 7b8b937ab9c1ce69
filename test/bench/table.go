package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// endToEnd measures what a user waits for.
func endToEnd() error {
	e, err := startEngine()
	if err != nil {
		return err
	}
	defer e.close()
	const image = "hoy/toolbox"
	if _, err := output(e.hoy("run", "-d", "--name", "held", image, "sleep", "100000")); err != nil {
		return err
	}
	fmt.Println("\n== end to end, start of the command to its end; median (p10–p90)")
	for _, f := range []struct {
		what, goal string
		args       []string
	}{
		{"hoy --version", "3 ms", []string{"--version"}},
		{"hoy run --rm, bridge", "8 ms (docker 318, podman 407)", []string{"run", "--rm", image, "true"}},
		{"hoy run --rm --network none", "below bridge", []string{"run", "--rm", "--network", "none", image, "true"}},
		{"hoy exec", "5 ms (docker 65, podman 149)", []string{"exec", "held", "true"}},
	} {
		if err := measure(f.what, f.goal, 40, func() *exec.Cmd { return e.hoy(f.args...) }); err != nil {
			return err
		}
	}
	if err := e.steps(image, 40); err != nil {
		return err
	}
	if err := e.starts(image, 20); err != nil {
		return err
	}
	if err := peers(); err != nil {
		return err
	}
	if err := e.script(os.Getenv("BENCH_SH")); err != nil {
		return err
	}
	return e.many(image)
}

// script runs the sections of a benchmark script that an engine without registry and
// builds can do.
func (e *engine) script(path string) error {
	if path == "" {
		return nil
	}
	fmt.Println("\n== " + filepath.Base(path) + ": figure, median, runs")
	hoy, err := filepath.Abs("bin/hoy")
	if err != nil {
		return err
	}
	c := exec.Command("bash", path, hoy, "cli", "run", "exec", "many")
	// Its memory figures are sums over these: other engines may be running.
	c.Env = append(e.hoy().Env, "ENGINE_PROCS=hoy(d|-keeper) .*"+e.dir+"/run")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("cannot run %s: %w", path, err)
	}
	return nil
}

// many measures what grows with the number of containers.
func (e *engine) many(image string) error {
	const n = 50
	const calm = 7 * time.Second // after five the engine gives back what it needed at work
	working := e.pss()
	time.Sleep(calm)
	before, begin := e.pss(), time.Now()
	for i := range n {
		if _, err := output(e.hoy("run", "-d", "--name", fmt.Sprint("many", i), image, "sleep", "100000")); err != nil {
			return err
		}
	}
	fmt.Printf("%-34s %8.0f ms   goal 500 ms\n", "50 containers, one after another", float64(time.Since(begin).Milliseconds()))
	if err := measure("hoy ps -q, 50 containers", "5 ms (docker 92)", 20, func() *exec.Cmd { return e.hoy("ps", "-q") }); err != nil {
		return err
	}
	time.Sleep(calm)
	after := e.pss()
	fmt.Printf("%-34s %8d kB   goal 40,000 kB; at work %d kB\n", "engine and keeper, idle, PSS", before, working)
	fmt.Printf("%-34s %8d kB   goal 60 kB (docker 4,646, podman 363)\n", "each idle container, PSS", (after-before)/n)
	return nil
}

// peers measures the runtimes that are installed, with a bundle of the same kind.
func peers() error {
	for _, peer := range []string{"runc", "crun"} {
		if _, err := exec.LookPath(peer); err != nil {
			fmt.Printf("%-34s not installed\n", peer)
			continue
		}
		dir, err := bundle(peer)
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		run := func() *exec.Cmd { return exec.Command(peer, "run", "--bundle", dir, filepath.Base(dir)) }
		if out, err := output(run()); err != nil {
			first, _, _ := strings.Cut(out+err.Error(), "\n")
			fmt.Printf("%-34s does not start here: %s\n", peer+" run", first)
			continue
		}
		if err := measure(peer+" run, the runtime alone", "none: for comparison", 20, run); err != nil {
			return err
		}
	}
	return nil
}

// bundle makes an OCI bundle with what the runtime has by default, running true.
func bundle(peer string) (string, error) {
	dir, err := os.MkdirTemp("", "hoy-bench-"+peer)
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "rootfs", "bin")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return dir, err
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "true"), busybox, 0o755)
	}
	if err != nil {
		return dir, err
	}
	spec := exec.Command(peer, "spec")
	spec.Dir = dir
	if _, err := output(spec); err != nil {
		return dir, err
	}
	config := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(config)
	if err != nil {
		return dir, err
	}
	text := strings.NewReplacer(`"terminal": true`, `"terminal": false`, `"sh"`, `"true"`).Replace(string(b))
	return dir, os.WriteFile(config, []byte(text), 0o644)
}
