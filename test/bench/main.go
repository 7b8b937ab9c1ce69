// Command bench compares hoy with the least that the kernel asks for and with the
// runtimes that are installed, on this machine, in one run. It asserts nothing.
//
// With BENCH_SH, the path of a script that measures any docker-like command line
// (script COMMAND SECTION…), it runs that too, with an engine of its own.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: needs root: run it by 'make bench', which becomes root")
		os.Exit(1)
	}
	fmt.Println("== to exec, beside a C program that makes the same container (test/floor)")
	floor := exec.Command("go", "run", "./test/floor", "-n", "50", "-rounds", "4")
	floor.Stdout, floor.Stderr = os.Stdout, os.Stderr
	err := floor.Run()
	if err == nil {
		err = endToEnd()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
