package firewall

import (
	"os"
	"testing"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }
