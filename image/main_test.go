package image

import (
	"os"
	"testing"

	"hoy/image/confine"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "unpack" {
		os.Exit(confine.Main())
	}
	os.Exit(rootful.Main(m))
}
