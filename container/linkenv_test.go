package container

import (
	"slices"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// TestLinkVariables: docker's variables of a link, TCP before the others, and ports that
// follow each other as a range too.
func TestLinkVariables(t *testing.T) {
	other := &apicontainer.Config{Env: []string{"PATH=/bin", "HOME=/", "USER=me", "EMPTY=", "UNSET"}, ExposedPorts: apinetwork.PortSet{}}
	for _, p := range []string{"53/udp", "80/tcp", "81/tcp", "443/tcp"} {
		other.ExposedPorts[apinetwork.MustParsePort(p)] = struct{}{}
	}
	want := []string{
		"MY_DB_PORT=tcp://172.17.0.5:80",
		"MY_DB_PORT_80_TCP=tcp://172.17.0.5:80", "MY_DB_PORT_80_TCP_ADDR=172.17.0.5", "MY_DB_PORT_80_TCP_PORT=80", "MY_DB_PORT_80_TCP_PROTO=tcp",
		"MY_DB_PORT_81_TCP=tcp://172.17.0.5:81", "MY_DB_PORT_81_TCP_ADDR=172.17.0.5", "MY_DB_PORT_81_TCP_PORT=81", "MY_DB_PORT_81_TCP_PROTO=tcp",
		"MY_DB_PORT_80_TCP_START=tcp://172.17.0.5:80", "MY_DB_PORT_80_TCP_PORT_START=80", "MY_DB_PORT_80_TCP_END=tcp://172.17.0.5:81", "MY_DB_PORT_80_TCP_PORT_END=81",
		"MY_DB_PORT_443_TCP=tcp://172.17.0.5:443", "MY_DB_PORT_443_TCP_ADDR=172.17.0.5", "MY_DB_PORT_443_TCP_PORT=443", "MY_DB_PORT_443_TCP_PROTO=tcp",
		"MY_DB_PORT_53_UDP=udp://172.17.0.5:53", "MY_DB_PORT_53_UDP_ADDR=172.17.0.5", "MY_DB_PORT_53_UDP_PORT=53", "MY_DB_PORT_53_UDP_PROTO=udp",
		"MY_DB_NAME=/web/my-db", "MY_DB_ENV_USER=me", "MY_DB_ENV_EMPTY=",
	}
	if got := linkVariables("web", "my-db", "172.17.0.5", other); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
