package firewall

import (
	"os"
	"os/exec"
	"testing"

	"hoy/test/lan"
	"hoy/test/rootful"
)

// TestBare: a family that is left alone passes every chain first, and nothing else of the
// table is about it; of both families there is no table.
func TestBare(t *testing.T) {
	rootful.Check(t)
	lan.NewBridge(t, "hoy0")
	lan.NewBridge(t, "br-six")
	networks := []Network{
		{Name: "bridge", Link: "hoy0", Subnet: prefixOf("172.17.0.0/16"), Subnet6: prefixOf("fd00:17::/64")},
		{Name: "six", Link: "br-six", Subnet6: prefixOf("fd00:6::/64")},
	}
	ports := []Port{port("tcp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"), port("tcp", "[::]:8080", "hoy0", "[fd00:17::2]:80")}
	f := open(t, "hoy-hoy0")
	f.opts.Bare6 = true
	lan.Must(t, f.Sync(networks, ports))
	want := list(t, "hoy-hoy0")
	if *update {
		lan.Must(t, os.WriteFile("testdata/bare6.nft", []byte(want), 0o644))
	}
	golden, err := os.ReadFile("testdata/bare6.nft")
	lan.Must(t, err)
	if want != string(golden) {
		t.Errorf("the table is not the document bare6.nft (-update writes it):\n%s", want)
	}

	// The same, by pieces.
	lan.Must(t, f.Sync(nil, nil))
	for _, n := range networks {
		lan.Must(t, f.AddNetwork(n))
	}
	lan.Must(t, f.Publish(ports...))
	if got := list(t, "hoy-hoy0"); sorted(got) != sorted(want) {
		t.Errorf("by pieces:\n%s", got)
	}
	lan.Must(t, f.Unpublish(ports...))
	for _, n := range networks {
		lan.Must(t, f.RemoveNetwork(n.Link))
	}

	f.opts.Bare4 = true
	lan.Must(t, f.Sync(networks, ports))
	if out, err := exec.Command("nft", "list", "table", "inet", "hoy-hoy0").CombinedOutput(); err == nil {
		t.Errorf("both families are left alone, and there is\n%s", out)
	}
}
