package firewall

import (
	"net"
	"testing"

	"hoy/test/lan"
)

// TestFormerEngine: a port of a container that has ended while there was no engine leads
// nobody to who has its address now, though its clients go on sending; others go on.
func TestFormerEngine(t *testing.T) {
	before := []Port{
		port("udp", "0.0.0.0:9000", "hoy0", "172.17.0.2:80"), port("udp", "[::]:9000", "hoy0", "[fd00:17::2]:80"),
		port("udp", "192.0.2.1:9001", "hoy0", "172.17.0.2:80"), port("udp", "[2001:db8:2::1]:9001", "hoy0", "[fd00:17::2]:80"),
	}
	w, _ := begin(t, []Network{hoy0, hoy1}, append(before, published...)...)
	var cut []talker
	for _, at := range []string{"192.0.2.1:9000", "[2001:db8:2::1]:9000", "192.0.2.1:9001", "[2001:db8:2::1]:9001"} {
		c := talk(t, w.Peer, at)
		c.hears(t, "web sees "+c.LocalAddr().(*net.UDPAddr).IP.String())
		cut = append(cut, c)
	}
	kept := dial(t, w.Peer, "192.0.2.1:8080")
	next := open(t, "hoy-hoy0")
	lan.Must(t, next.Sync([]Network{hoy0, hoy1}, published))
	next.flows.settle()
	for _, c := range cut {
		if got := lan.Line(c, true, lan.Silence); got != "" {
			t.Errorf("at %s, which is not published any more, the peer hears %q", c.RemoteAddr(), got)
		}
	}
	if err := exchange(kept); err != nil {
		t.Errorf("a connection by a port that stays: %v", err)
	}
}
