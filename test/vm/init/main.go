//go:build linux && amd64

// Command init is PID 1 of the virtual machine of package vm: it prepares a machine
// with pure cgroup v2, runs the programs of the batch one after another and ends the
// machine.
//
// What it prints on the console is drawn in package vm, which reads it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init is PID 1 of a virtual machine for tests; there is nothing else to do with it")
		os.Exit(2)
	}
	if err := prepare(); err != nil {
		fmt.Println("VM-BROKEN", err)
		end(125)
	}
	fmt.Println("VM-READY")
	code := 0
	for _, p := range batch() {
		fmt.Println("VM-START", p.name)
		begin := time.Now()
		c, err := run(p)
		if err != nil {
			fmt.Println("cannot run:", err)
			c = 125
		}
		fmt.Printf("\nVM-END %s %d %s\n", p.name, c, time.Since(begin).Round(time.Millisecond))
		if c != 0 {
			code = 1
		}
	}
	end(code)
}

// end tells the verdict on the console and by the debug port, and stops the machine.
func end(code int) {
	fmt.Println("VM-EXIT", code)
	unix.Sync()
	if err := debugExit(byte(code)); err != nil {
		fmt.Println("cannot reach the debug port:", err)
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU runs with -no-reboot
	select {}
}

type program struct {
	name string
	argv []string
	env  []string
}

// batch reads /batch: per program a line "name", lines "arg …" and "env …".
func batch() []program {
	b, err := os.ReadFile("/batch")
	if err != nil {
		fmt.Println("VM-BROKEN", err)
		end(125)
	}
	var all []program
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if key == "name" {
			all = append(all, program{name: value, env: os.Environ()})
			continue
		}
		p := &all[len(all)-1]
		switch key {
		case "arg":
			p.argv = append(p.argv, value)
		case "env":
			p.env = append(p.env, value)
		}
	}
	return all
}

// run runs a program to its end, reaping orphans meanwhile as PID 1 must.
func run(p program) (int, error) {
	dir := filepath.Join("/work", p.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	defer null.Close()
	child, err := os.StartProcess(p.argv[0], p.argv, &os.ProcAttr{Dir: dir, Env: p.env, Files: []*os.File{null, os.Stdout, os.Stdout}})
	if err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && pid != child.Pid:
			continue
		case err != nil:
			return 0, err
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}
