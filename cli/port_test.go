package cli

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/moby/moby/api/types/network"
)

func TestPortLines(t *testing.T) {
	m := network.PortMap{
		network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: "8080"}, {HostIP: netip.MustParseAddr("::"), HostPort: "8080"}},
		network.MustParsePort("53/udp"): {{HostPort: "5353"}},
		network.MustParsePort("9/tcp"):  nil,
	}
	all, err := portLines(m, nil)
	if want := []string{"53/udp -> 0.0.0.0:5353", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"}; err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%q %v", all, err)
	}
	one, err := portLines(m, []string{"80"})
	if want := []string{"0.0.0.0:8080", "[::]:8080"}; err != nil || !reflect.DeepEqual(one, want) {
		t.Errorf("%q %v", one, err)
	}
	if none, err := portLines(m, []string{"53"}); err != nil || none != nil {
		t.Errorf("%q %v", none, err)
	}
	if _, err := portLines(m, []string{"x"}); err == nil {
		t.Error("x is no port")
	}
}
