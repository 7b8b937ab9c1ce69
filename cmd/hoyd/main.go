// Command hoyd is the engine: it answers Docker's Engine API and runs containers.
package main

import (
	"os"

	"hoy/daemon"
)

func main() { os.Exit(daemon.Main(os.Args, os.Stdout, os.Stderr)) }
