package spawn_test

import (
	"os"
	"testing"

	"hoy/linux/spawn"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "spawn-helper" {
		os.Exit(spawn.HelperMain())
	}
	os.Exit(rootful.Main(m))
}
