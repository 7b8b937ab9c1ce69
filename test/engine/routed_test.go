package engine

import (
	"strings"
	"testing"

	"hoy/test/lan"
	"hoy/test/rootful"
)

// TestRoutedOutlivesCrashes: the ports of a routed network are open at a container's own
// address, beside those of the default route's network, and only while they are published,
// whatever part of hoy goes. They take no port of the machine.
func TestRoutedOutlivesCrashes(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			w := lan.New(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("network", "create", "nat")
			e.Hoy("network", "create", "open", "--subnet", "172.29.0.0/24", "-o", "com.docker.network.bridge.gateway_mode_ipv4=routed")
			e.Hoy("run", "-d", "--name", "web", "--network", "open", "-p", "18080:80", "busybox", "sh", "-c",
				"for p in 80 81; do while :; do echo web | nc -l -p $p; done & done; wait")
			reached := func(when string, open, closed []string) {
				t.Helper()
				for _, a := range open {
					e.Eventually(a+" "+when, func() bool { return w.Peer.Ask("tcp", a, lan.Silence) == "web" })
				}
				for _, a := range closed {
					if got := w.Peer.Ask("tcp", a, lan.Silence); got != "" {
						t.Errorf("%s, %s is open: %q", when, a, got)
					}
				}
			}
			// On an IPv4 network the keeper forwards from IPv6, which is not routed.
			if got := e.Hoy("port", "web"); got != "80/tcp -> 0.0.0.0:\n80/tcp -> [::]:18080" {
				t.Errorf("ports: %q", got)
			}
			reached("at first", []string{"172.29.0.2:80"}, []string{"172.29.0.2:81", "192.0.2.1:18080"})
			crash(e)
			reached("after the crash", []string{"172.29.0.2:80"}, []string{"172.29.0.2:81"})
			e.Hoy("update", "--publish-add", "18081:81", "web")
			reached("after one more", []string{"172.29.0.2:80", "172.29.0.2:81"}, nil)
			crash(e)
			reached("after the second crash", []string{"172.29.0.2:80", "172.29.0.2:81"}, nil)
			e.Hoy("update", "--publish-rm", "81", "web")
			reached("after one less", []string{"172.29.0.2:80"}, []string{"172.29.0.2:81"})
			e.Hoy("network", "connect", "--gw-priority", "1", "nat", "web")
			reached("with another default route", []string{"172.29.0.2:80", "192.0.2.1:18080"}, nil)
			crash(e)
			reached("after the third crash", []string{"172.29.0.2:80", "192.0.2.1:18080"}, nil)
			if got := e.Hoy("port", "--explain", "web"); !strings.Contains(got, "everybody who has a route to 172.29.0.2:80") {
				t.Errorf("explained: %s", got)
			}
			e.Hoy("network", "disconnect", "open", "web")
			reached("without the routed network", []string{"192.0.2.1:18080"}, []string{"172.29.0.2:80"})
			e.Hoy("rm", "-f", "web")
		})
	}
}
