// Command hoy is the command line of hoy: docker's commands, by docker's names.
package main

import (
	"os"

	"hoy/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
