// Command hoy-toolbox is the userland of the built-in image: every program of it.
package main

import (
	"os"

	"hoy/toolbox/applet"
)

func main() { os.Exit(applet.Main(os.Args)) }
