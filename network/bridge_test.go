package network

import (
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hoy/linux/netlink"
)

// addressesOf returns the addresses of a link of the host.
func addressesOf(t *testing.T, link string) string {
	t.Helper()
	ps, ok := netlink.Addresses(link)
	if !ok {
		t.Errorf("there is no link %s", link)
	}
	var l []string
	for _, p := range ps {
		l = append(l, p.String())
	}
	return strings.Join(l, " ")
}

// TestIsolated: containers reach each other and nobody else, not even the host.
func TestIsolated(t *testing.T) {
	n, _ := openWith(t, Options{})
	made := create(t, n, CreateRequest{Name: "alone", Internal: true, IPv6: &yes, Options: map[string]string{
		"com.docker.network.bridge.gateway_mode_ipv4": "isolated", "com.docker.network.bridge.gateway_mode_ipv6": "isolated",
	}})
	a, b := attach(t, n, "a", "alone"), attach(t, n, "b", "alone")
	serve(t, b.NetNS)
	reaches(t, a, b.Endpoint.Address.Addr())
	reaches(t, a, b.Endpoint.Address6.Addr())
	if got := addressesOf(t, made.Link); got != "" {
		t.Errorf("the bridge has %s", got)
	}
	if a.Endpoint.Address.Addr() != made.Subnets[0].Prefix.Addr().Next() {
		t.Errorf("a has %s: nobody needs the first address", a.Endpoint.Address)
	}
}

// TestPointToPoint has a network of two addresses (RFC 3021).
func TestPointToPoint(t *testing.T) {
	n, _ := openWith(t, Options{})
	create(t, n, CreateRequest{Name: "two", Internal: true, Subnets: subnet("10.221.0.0/31"), Options: map[string]string{"com.docker.network.bridge.inhibit_ipv4": "true"}})
	a, b := attach(t, n, "a", "two"), attach(t, n, "b", "two")
	serve(t, b.NetNS)
	reaches(t, a, b.Endpoint.Address.Addr())
}

// TestOwnBridge uses a bridge that somebody has made, who keeps it.
func TestOwnBridge(t *testing.T) {
	n, _ := openWith(t, Options{})
	if out, err := exec.Command("ip", "link", "add", "hoymine", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	defer netlink.DelLink("hoymine")
	made := create(t, n, CreateRequest{Name: "mine", Subnets: subnet("10.221.0.0/24"), Options: map[string]string{"com.docker.network.bridge.name": "hoymine"}})
	a := attach(t, n, "a", "mine")
	serveHere(t)
	reaches(t, a, netip.MustParseAddr("10.221.0.1"))
	a.Close()
	n.Detach("a")
	if err := n.Remove(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := net.InterfaceByName("hoymine"); err != nil {
		t.Errorf("the bridge went with the network: %v", err)
	}
}

// TestBridgeComesBack after somebody has deleted it, with who was on it, whether or not
// endpoints were kept ready.
func TestBridgeComesBack(t *testing.T) {
	for i, ready := range []int{-1, 4, -1, 4} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			n, _ := openWith(t, Options{Ready: ready})
			made := create(t, n, CreateRequest{Name: "back"})
			before := attach(t, n, "before", "back")
			if p := n.named("back").ready; p != nil {
				fill(p)
			}
			if err := netlink.DelLink(made.Link); err != nil {
				t.Fatal(err)
			}
			if i >= 2 { // another engine has made one
				run(t, here(t), "ip", "link", "add", made.Link, "type", "bridge")
			}
			a := attach(t, n, "a", "back")
			serveHere(t)
			reaches(t, a, made.Subnets[0].Gateway)
			reaches(t, before, made.Subnets[0].Gateway)
			serve(t, before.NetNS)
			reaches(t, a, before.Endpoint.Address.Addr())
		})
	}
}
