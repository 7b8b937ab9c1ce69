package cli

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestPorts(t *testing.T) {
	all := netip.MustParseAddr("0.0.0.0")
	six := netip.MustParseAddr("::")
	for _, c := range []struct {
		name string
		in   []container.PortSummary
		want string
	}{
		{"none", nil, ""},
		{"exposed", []container.PortSummary{{PrivatePort: 80, Type: "tcp"}}, "80/tcp"},
		{"a run", []container.PortSummary{{PrivatePort: 81, Type: "tcp"}, {PrivatePort: 80, Type: "tcp"}, {PrivatePort: 82, Type: "tcp"}}, "80-82/tcp"},
		{"a gap", []container.PortSummary{{PrivatePort: 80, Type: "tcp"}, {PrivatePort: 83, Type: "tcp"}}, "80/tcp, 83/tcp"},
		{"protocols", []container.PortSummary{{PrivatePort: 53, Type: "udp"}, {PrivatePort: 53, Type: "tcp"}}, "53/tcp, 53/udp"},
		{"same outside", []container.PortSummary{{IP: all, PrivatePort: 80, PublicPort: 80, Type: "tcp"}, {IP: all, PrivatePort: 81, PublicPort: 81, Type: "tcp"}}, "0.0.0.0:80-81->80-81/tcp"},
		{"other outside", []container.PortSummary{{IP: all, PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {IP: six, PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {PrivatePort: 443, Type: "tcp"}}, "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ports(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
