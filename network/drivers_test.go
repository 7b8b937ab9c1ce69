package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/linux/netlink"
)

// wholeKernel is set where the kernel has everything: nothing may be skipped there.
const wholeKernel = "HOY_TEST_WHOLE_KERNEL"

// lacking skips, or fails where the kernel has everything.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(wholeKernel) != "" {
		t.Fatalf("this kernel has no %s", what)
	}
	t.Skipf("this kernel has no %s; the machine of test/vm has", what)
}

// farHost is a host beyond the link hoyfar0, at 192.0.2.1, where port 80 answers.
func farHost(t *testing.T) *os.File {
	t.Helper()
	far, err := netlink.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	v := netlink.Link{Kind: netlink.Veth, Host: "hoyfar0", Name: "eth0", Namespace: far, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
	if err := v.Add(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.DelLink("hoyfar0") })
	serve(t, far)
	return far
}

// lanOf is a network of the far host's.
func lanOf(driver, parent string, options ...string) CreateRequest {
	r := CreateRequest{Name: "lan", Driver: driver, Options: map[string]string{"parent": parent},
		Subnets: []Subnet{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Range: netip.MustParsePrefix("192.0.2.64/26"), Gateway: netip.MustParseAddr("192.0.2.1")}}}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		r.Options[key] = value
	}
	return r
}

// TestIpvlan has two containers beside a link of the host's, by each of ipvlan's modes,
// and one beyond it.
func TestIpvlan(t *testing.T) {
	for _, mode := range []string{"l2", "l3", "l3s"} {
		t.Run(mode, func(t *testing.T) {
			n, _ := openWith(t, Options{})
			if !netlink.Supports(netlink.Ipvlan) {
				lacking(t, "ipvlan links")
			}
			far := farHost(t)
			r := lanOf("ipvlan", "hoyfar0", "ipvlan_mode="+mode)
			create(t, n, r)
			a, b := attach(t, n, "a", "lan"), attach(t, n, "b", "lan")
			serve(t, b.NetNS)
			reaches(t, a, b.Endpoint.Address.Addr())
			if got, want := linkAddress(t, a.NetNS), linkAddress(t, b.NetNS); got != want {
				t.Errorf("link addresses %s and %s: of one link they are one", got, want)
			}
			route := run(t, a.NetNS, "ip", "route", "show", "default")
			if mode != "l2" {
				// The kernel routes there: nobody answers who asks for a neighbour.
				if !strings.HasPrefix(route, "default dev eth0 scope link") {
					t.Errorf("default route: %s", route)
				}
				return
			}
			if !strings.HasPrefix(route, "default via 192.0.2.1") {
				t.Errorf("default route: %s", route)
			}
			reaches(t, a, netip.MustParseAddr("192.0.2.1"))
			serve(t, a.NetNS)
			if got, err := ask(far, a.Endpoint.Address.Addr()); err != nil {
				t.Errorf("the far host does not reach it: %q, %v", got, err)
			}
		})
	}
}

// linkAddress of eth0.
func linkAddress(t *testing.T, ns *os.File) string {
	t.Helper()
	_, after, found := strings.Cut(run(t, ns, "ip", "link", "show", "eth0"), "link/ether ")
	if !found {
		t.Error("eth0 has no link address")
	}
	return strings.Fields(after + " none")[0]
}

// TestVLANParent has the network's parent made, a VLAN of a link, and removed with it.
func TestVLANParent(t *testing.T) {
	for _, driver := range []string{"macvlan", "ipvlan"} {
		t.Run(driver, func(t *testing.T) {
			n, _ := openWith(t, Options{})
			if !netlink.Supports(netlink.Kind(driver)) || !vlans(t) {
				lacking(t, driver+" links or VLANs")
			}
			farHost(t)
			net := create(t, n, lanOf(driver, "hoyfar0.10"))
			a, b := attach(t, n, "a", "lan"), attach(t, n, "b", "lan")
			serve(t, b.NetNS)
			reaches(t, a, b.Endpoint.Address.Addr())
			if got, err := os.ReadFile("/proc/thread-self/net/vlan/hoyfar0.10"); !strings.Contains(string(got), "VID: 10") {
				t.Errorf("the parent: %s, %v", got, err)
			}
			if got, err := ask(a.NetNS, netip.MustParseAddr("192.0.2.1")); err == nil {
				t.Errorf("who is in no VLAN is reached: %s", got)
			}
			for _, s := range []place{a, b} {
				s.Close()
				n.Detach(s.ContainerID)
			}
			if err := n.Remove(context.Background(), net.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := netlink.Index("hoyfar0.10"); err == nil {
				t.Error("the parent that was made for the network is left")
			}
		})
	}
}

func vlans(t *testing.T) bool {
	t.Helper()
	_, err := os.Stat("/proc/thread-self/net/vlan")
	return err == nil
}

// TestSCTPReaches goes through a published port of SCTP, from a peer on the host's network.
func TestSCTPReaches(t *testing.T) {
	n, _ := openWith(t, Options{})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		lacking(t, "SCTP")
	}
	unix.Close(fd)
	far := farHost(t)
	run(t, here(t), "ip", "address", "add", "192.0.2.9/24", "dev", "hoyfar0")
	r := on("a", EndpointRequest{})
	r.Publish = []PortRequest{{Proto: "sctp", Container: 80, First: 8080, Last: 8080}}
	a := attachTo(t, n, r)
	if err := netlink.In(a.NetNS, func() error { return greetBySCTP(t, 80) }); err != nil {
		t.Fatal(err)
	}
	var got string
	err = netlink.In(far, func() (err error) {
		got, err = greetingBySCTP(&unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 9}, Port: 8080})
		return err
	})
	if err != nil || got != "hello" {
		t.Errorf("the published port says %q, %v", got, err)
	}
}

// here is the network namespace of the test.
func here(t *testing.T) *os.File {
	t.Helper()
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// greetBySCTP says hello to whoever connects to a port, until the test ends. Package net
// knows no SCTP.
func greetBySCTP(t *testing.T, port int) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { unix.Shutdown(l, unix.SHUT_RDWR); <-ended; unix.Close(l) })
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Port: port}), unix.Listen(l, 8)); err != nil {
		close(ended)
		return err
	}
	go func() {
		defer close(ended)
		for {
			c, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			unix.Write(c, []byte("hello"))
			unix.Close(c)
		}
	}()
	return nil
}

func greetingBySCTP(to unix.Sockaddr) (string, error) {
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer unix.Close(c)
	patience := unix.Timeval{Sec: 5}
	unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
	if err := unix.Connect(c, to); err != nil {
		return "", os.NewSyscallError("connect", err)
	}
	b := make([]byte, 64)
	n, err := unix.Read(c, b)
	return string(b[:max(n, 0)]), os.NewSyscallError("read", err)
}
