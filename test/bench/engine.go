package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An engine is one of its own, with everything below a temporary directory.
type engine struct {
	dir string
	cmd *exec.Cmd
}

func startEngine() (*engine, error) {
	dir, err := os.MkdirTemp("", "hoy-bench")
	if err != nil {
		return nil, err
	}
	e := &engine{dir: dir}
	e.cmd = exec.Command("bin/hoyd", "serve", "--data-root", dir+"/data", "--exec-root", dir+"/run", "--host", e.host(),
		"--bridge", e.bridge(), "--pidfile", dir+"/pid")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	for range 1000 {
		if e.hoy("version").Run() == nil {
			return e, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	e.close()
	return nil, fmt.Errorf("the engine does not answer\n%s", text)
}

// bridge is that of its default network.
func (e *engine) bridge() string { return "hoy" + strconv.Itoa(os.Getpid()%100000) + "b" }

func (e *engine) host() string { return "unix://" + e.dir + "/s" }

func (e *engine) hoy(args ...string) *exec.Cmd { return hoyAt(e.host(), args...) }

// hoyAt is the command line for an engine of any make.
func hoyAt(host string, args ...string) *exec.Cmd {
	c := exec.Command("bin/hoy", args...)
	c.Env = append(os.Environ(), "HOY_HOST="+host)
	return c
}

// output runs a command that must succeed.
func output(c *exec.Cmd) (string, error) {
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// close removes the containers and ends the engine; its keeper ends by itself.
func (e *engine) close() {
	if ids, err := output(e.hoy("ps", "-aq")); err == nil && ids != "" {
		e.hoy(append([]string{"rm", "-f"}, strings.Fields(ids)...)...).Run()
	}
	e.cmd.Process.Signal(syscall.SIGTERM)
	e.cmd.Wait()
	for range 500 {
		if len(e.processes()) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	os.RemoveAll(e.dir)
}

// processes are those of the engine, with their command lines, which carry its directory.
func (e *engine) processes() map[int]string {
	found := map[int]string{}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		b, _ := os.ReadFile(name)
		if args := strings.Split(string(b), "\x00"); strings.HasPrefix(filepath.Base(args[0]), "hoy") && strings.Contains(string(b), e.dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			found[pid] = string(b)
		}
	}
	return found
}

// pss is the memory of engine and keeper in kB, shared pages divided.
func (e *engine) pss() (sum int) {
	for pid := range e.processes() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if _, rest, ok := strings.Cut(string(b), "\nPss:"); ok {
			var kB int
			fmt.Sscan(rest, &kB)
			sum += kB
		}
	}
	return sum
}

// measure prints the median of n runs of a command, in ms, and the goal.
func measure(what, goal string, n int, command func() *exec.Cmd) error {
	var ms []float64
	for i := range n + 2 {
		begin := time.Now()
		if _, err := output(command()); err != nil {
			return err
		}
		if i >= 2 { // the first ones do not count
			ms = append(ms, float64(time.Since(begin).Microseconds())/1e3)
		}
	}
	slices.Sort(ms)
	fmt.Printf("%-34s %8.1f ms   (%.1f–%.1f)   goal %s\n", what, ms[n/2], ms[n/10], ms[n*9/10], goal)
	return nil
}
