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
	if len(os.Args) == 5 && os.Args[1] == "work" {
		os.Exit(work(os.Args[2], os.Args[3], os.Args[4]))
	}
	os.Exit(rootful.Main(m))
}
