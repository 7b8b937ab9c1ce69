// Command hoy-keeper holds the containers of one engine, and outlives it. By the name
// docker-init it is the first process of a container; as hoy-keeper unpack it unpacks
// a layer of an image, being the smallest program there is for it.
package main

import (
	"os"
	"path/filepath"

	"hoy/image/confine"
	"hoy/keeper"
	"hoy/keeper/initproc"
)

func main() {
	if filepath.Base(os.Args[0]) == initproc.Name {
		os.Exit(initproc.Main(os.Args[1:]))
	}
	if len(os.Args) == 2 && os.Args[1] == "unpack" {
		os.Exit(confine.Main())
	}
	os.Exit(keeper.Main(os.Args[1:]))
}
