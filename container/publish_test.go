package container

import (
	"net/netip"
	"reflect"
	"testing"

	apinetwork "github.com/moby/moby/api/types/network"
)

func TestChangedPorts(t *testing.T) {
	tcp80, udp53 := apinetwork.MustParsePort("80/tcp"), apinetwork.MustParsePort("53/udp")
	bound := func(port string) apinetwork.PortBinding { return apinetwork.PortBinding{HostPort: port} }
	local := apinetwork.PortBinding{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "8080"}
	type ports = apinetwork.PortMap
	for what, tc := range map[string]struct{ before, add, remove, after, gone ports }{
		"added":                {ports{}, ports{tcp80: {bound("8080")}}, nil, ports{tcp80: {bound("8080")}}, ports{}},
		"added without place":  {ports{}, ports{tcp80: nil}, nil, ports{tcp80: {{}}}, ports{}},
		"one of two":           {ports{tcp80: {bound("8080"), bound("8081")}}, nil, ports{tcp80: {bound("8081")}}, ports{tcp80: {bound("8080")}}, ports{tcp80: {bound("8081")}}},
		"all of a port":        {ports{tcp80: {bound("8080"), bound("8081")}, udp53: {bound("53")}}, nil, ports{tcp80: nil}, ports{udp53: {bound("53")}}, ports{tcp80: {bound("8080"), bound("8081")}}},
		"by address":           {ports{tcp80: {local, bound("8080")}}, nil, ports{tcp80: {local}}, ports{tcp80: {bound("8080")}}, ports{tcp80: {local}}},
		"moved to another one": {ports{tcp80: {bound("8080")}}, ports{tcp80: {bound("9090")}}, ports{tcp80: {{}}}, ports{tcp80: {bound("9090")}}, ports{tcp80: {bound("8080")}}},
	} {
		after, gone, err := changedPorts(tc.before, tc.add, tc.remove)
		if err != nil || !reflect.DeepEqual(after, tc.after) || !reflect.DeepEqual(gone, tc.gone) {
			t.Errorf("%s: after %v, gone %v, %v", what, after, gone, err)
		}
	}
	for _, missing := range []ports{{udp53: nil}, {tcp80: {bound("8081")}}, {tcp80: {local}}} {
		if _, _, err := changedPorts(ports{tcp80: {bound("8080")}}, nil, missing); err == nil {
			t.Errorf("%v was not published, and no error", missing)
		}
	}
}
