// Command hoy-keeper holds the containers of one engine, and outlives it. By the name
// docker-init it is the first process of a container.
package main

import (
	"os"
	"path/filepath"

	"hoy/keeper"
	"hoy/keeper/initproc"
)

func main() {
	if filepath.Base(os.Args[0]) == initproc.Name {
		os.Exit(initproc.Main(os.Args[1:]))
	}
	os.Exit(keeper.Main(os.Args[1:]))
}
