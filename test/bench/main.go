// Command bench compares hoy with the least that the kernel asks for and with the
// runtimes that are installed, on this machine, in one run. It asserts nothing.
//
// With BENCH_SH, the path of a script that measures any docker-like command line
// (script COMMAND SECTION…), it runs that too, with an engine of its own.
//
// With -images it compares load and pull instead, with the least that a store must do;
// with -networks what networks cost a start and what they carry; with -builds builds.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: needs root: run it by 'make bench', which becomes root")
		os.Exit(1)
	}
	loads := flag.Bool("images", false, "compare load and pull")
	nets := flag.Bool("networks", false, "compare kinds of networks, and what they carry")
	build := flag.Bool("builds", false, "compare builds")
	buildx := flag.String("buildx", "", "docker's plugin buildx, to build with")
	archive := flag.String("archive", "", "of docker save, to load; default: one made of Go's own files")
	reference := flag.String("reference", "", "directory with the programs of the reference engine")
	rounds := flag.Int("rounds", 5, "how often")
	flag.Parse()
	err := error(nil)
	switch {
	case *loads:
		err = images(*archive, referenceEngine(*reference), *rounds)
	case *nets:
		err = networks(referenceEngine(*reference), *rounds)
	case *build:
		err = builds(referenceEngine(*reference), *buildx, *rounds)
	default:
		err = runs()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runs() error {
	fmt.Println("== to exec, beside a C program that makes the same container (test/floor)")
	floor := exec.Command("go", "run", "./test/floor", "-n", "50", "-rounds", "4")
	floor.Stdout, floor.Stderr = os.Stdout, os.Stderr
	if err := floor.Run(); err != nil {
		return err
	}
	return endToEnd()
}
