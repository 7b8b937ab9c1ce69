// Command hoy-shim stands for a container that another runtime runs: it speaks to the
// shim of that runtime. The keeper starts it in the place of the container's program,
// and the engine for each thing that it does to such a container.
package main

import (
	"os"

	"hoy/shim/standin"
)

func main() { os.Exit(standin.Main(os.Args[1:])) }
