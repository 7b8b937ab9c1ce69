// Command hoy-keeper holds the containers of one engine, and outlives it.
package main

import (
	"os"

	"hoy/keeper"
)

func main() { os.Exit(keeper.Main(os.Args[1:])) }
