package hostfw

import (
	"strings"
	"testing"

	"hoy/linux/nft"
	"hoy/test/lan"
	"hoy/test/rootful"
)

// TestPassAgain: the rule stays as it is, and gives way to that of an engine which marks
// otherwise.
func TestPassAgain(t *testing.T) {
	rootful.Check(t)
	run(t, "nft", "add table inet firewalld; add chain inet firewalld filter_FORWARD; add table ip filter; add chain ip filter ufw-before-forward")
	t.Cleanup(func() { run(t, "nft", "flush ruleset") })
	for _, f := range []nft.Foreign{firewalldForward, ufwForward[0].chain} {
		list := func() string { return run(t, "nft", "-a", "list", "chain", f.Family, f.Table, f.Chain) }
		lan.Must(t, nft.Pass(f, 0x2000, table))
		old := list()
		lan.Must(t, nft.Pass(f, 0x2000, table))
		if again := list(); again != old {
			t.Errorf("it was\n%s\nand is\n%s", old, again)
		}
		lan.Must(t, nft.Pass(f, 0x1000, table))
		if now := list(); strings.Count(now, "accept") != 1 || strings.Contains(now, "2000") || !strings.Contains(now, "1000") {
			t.Errorf("for other bits it is\n%s", now)
		}
		lan.Must(t, nft.Unpass(f, table))
		if left := list(); strings.Contains(left, "accept") {
			t.Errorf("left:\n%s", left)
		}
	}
}
