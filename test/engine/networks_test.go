package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/test/lan"
	"hoy/test/rootful"
)

// site serves a page that says name.
func site(name string) []string {
	return []string{"sh", "-c", "mkdir -p /www && echo " + name + " >/www/index.html && exec httpd -f -p 80 -h /www"}
}

// page fetches from the machine.
func page(address string) string {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	b := make([]byte, 4096)
	var all string
	for {
		n, err := c.Read(b)
		if all += string(b[:n]); err != nil {
			_, body, _ := strings.Cut(all, "\r\n\r\n")
			return strings.TrimSpace(body)
		}
	}
}

// everywhere are the ways in which the machine reaches a port published everywhere.
var everywhere = []string{"127.0.0.1", "[::1]"}

// TestNetworksOutliveCrashes has names answered and published ports lead to their
// container whatever part of hoy is gone, and no longer.
func TestNetworksOutliveCrashes(t *testing.T) {
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("network", "create", "net")
			e.Hoy(append([]string{"run", "-d", "--name", "web", "--network", "net", "--network-alias", "shop", "-p", "18080:80", "busybox"}, site("web")...)...)
			e.Hoy("run", "-d", "--name", "client", "--network", "net", "busybox", "sh", "-c", "while :; do wget -qO- http://shop/; sleep 0.1; done")
			log := e.Hoy("inspect", "-f", "{{.LogPath}}", "client")
			asked := func() int { b, _ := os.ReadFile(log); return strings.Count(string(b), "web") }
			works := func(when string) {
				t.Helper()
				for _, a := range everywhere {
					e.Eventually("the page at "+a+" "+when, func() bool { return page(a+":18080") == "web" })
				}
				was := asked()
				e.Eventually("answers to a name "+when, func() bool { return asked() > was+2 })
			}
			works("at first")
			if name == "engine" {
				e.Kill()
				works("without an engine")
				e.Up()
			} else {
				crash(e)
			}
			works("after the crash")
			e.Hoy("network", "connect", "bridge", "web")
			e.Hoy("update", "--publish-add", "18081:80", "--publish-rm", "18080:80", "web")
			for _, a := range everywhere {
				e.Eventually("the page at its new port of "+a, func() bool { return page(a+":18081") == "web" })
				if got := page(a + ":18080"); got == "web" {
					t.Errorf("still at the old port of %s", a)
				}
			}
			e.Hoy("rm", "-f", "web", "client")
			if got := page("127.0.0.1:18081"); !strings.Contains(got, "refused") {
				t.Errorf("after the end: %s", got)
			}
			e.Hoy("network", "rm", "net")
		})
	}
}

// TestRenameOutlivesTheEngine: the next engine's networks know a running container by the name
// that it was given last.
func TestRenameOutlivesTheEngine(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("network", "create", "net")
	e.Hoy(append([]string{"run", "-d", "--name", "old", "--network", "net", "busybox"}, site("web")...)...)
	e.Hoy("run", "-d", "--name", "asks", "--network", "net", "busybox", "sleep", "1000")
	e.Hoy("rename", "old", "new")
	got := func(name string) string { return e.Try("exec", "asks", "wget", "-qO-", "http://"+name+"/").Stdout }
	for _, when := range []string{"at once", "with the next engine"} {
		e.Eventually("the page by the new name "+when, func() bool { return got("new") == "web\n" })
		if got("old") != "" {
			t.Errorf("%s it is found by its old name", when)
		}
		e.Kill()
		e.Up()
	}
	e.Hoy("rm", "-f", "new", "asks")
	e.Hoy("network", "rm", "net")
}

// TestNetworksAfterAReboot makes bridges, rules and what runs on them anew when all that
// does not survive a reboot is gone.
func TestNetworksAfterAReboot(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("network", "create", "--subnet", "10.87.0.0/24", "--ipv6", "--subnet", "fd00:87::/64", "net")
	e.Hoy(append([]string{"run", "-d", "--restart", "always", "--name", "web", "--network", "net", "--ip", "10.87.0.9", "-p", "18080:80", "busybox"}, site("web")...)...)
	e.Eventually("the page", func() bool { return page("127.0.0.1:18080") == "web" })
	link := "br-" + e.Hoy("network", "inspect", "-f", "{{.Id}}", "net")[:12]
	pid, err := strconv.Atoi(e.Hoy("inspect", "-f", "{{.State.Pid}}", "web"))
	if err != nil {
		t.Fatal(err)
	}
	e.Kill()
	e.KillKeeper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "del", link).CombinedOutput(); err != nil {
		t.Fatalf("ip link del %s: %v %s", link, err, out)
	}
	if err := os.RemoveAll(filepath.Join(e.Dir, "run")); err != nil {
		t.Fatal(err)
	}
	e.Up()
	for _, a := range []string{"127.0.0.1:18080", "[::1]:18080", "10.87.0.9:80"} {
		e.Eventually("the page at "+a, func() bool { return page(a) == "web" })
	}
}

// TestJoinedNetworkEndsWithItsContainer: who has joined a container's network has no link
// any more when that has ended, as with docker, and its address is nobody else's. The next
// start of the container, after an engine's too, has what it had.
func TestJoinedNetworkEndsWithItsContainer(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("network", "create", "net")
	e.Hoy("run", "-d", "--name", "donor", "--network", "net", "busybox", "sleep", "1000")
	links := func() string { return e.Hoy("exec", "joined", "ls", "/sys/class/net") }
	for _, crash := range []bool{false, true} {
		e.Hoy("run", "-d", "--name", "joined", "--network", "container:donor", "busybox", "sleep", "1000")
		if got := links(); got != "eth0\nlo" {
			t.Errorf("it has joined %q", got)
		}
		address := e.Hoy("exec", "joined", "ip", "-4", "address", "show", "eth0")
		if crash {
			e.Kill()
			e.Up()
		}
		e.Hoy("restart", "-t", "0", "donor")
		if got := links(); got != "lo" {
			t.Errorf("without its container it has %q, and had %s", got, address)
		}
		e.Hoy("rm", "-f", "joined")
	}
	e.Hoy("run", "-d", "--rm", "--name", "temporary", "--network", "net", "busybox", "sleep", "1000")
	e.Hoy("run", "-d", "--name", "joined", "--network", "container:temporary", "busybox", "sleep", "1000")
	e.Hoy("kill", "temporary")
	e.Eventually("the links of a temporary container", func() bool { return links() == "lo" })
}

// networkLife makes networks, connects a container in every way, and takes all of it away;
// every step may fail.
func networkLife(e *Engine) {
	e.Try("network", "create", "one")
	e.Try("network", "create", "--internal", "two")
	e.Try(append([]string{"run", "-d", "--name", "first", "--network", "one", "-p", "18080:80", "busybox"}, site("first")...)...)
	e.Try("network", "connect", "--alias", "x", "two", "first")
	e.Try("update", "--publish-add", "18081:81", "--publish-rm", "18080:80", "first")
	e.Try("network", "disconnect", "two", "first")
	e.Try("rm", "-f", "first")
	e.Try("network", "rm", "two")
	e.Try("network", "rm", "one")
}

// TestEveryNetworkFailpoint breaks the engine at every point of that life, by an error
// and by SIGKILL. The next engine's state and the kernel's agree, and nothing is left.
func TestEveryNetworkFailpoint(t *testing.T) {
	for _, mode := range []string{"error", "kill"} {
		for _, p := range failpoint.Network {
			t.Run(mode+" "+string(p), func(t *testing.T) {
				rootful.Check(t)
				e := Start(t)
				e.ImportBusybox()
				e.breaking(p, mode)
				e.revived(func() { networkLife(e) })
				e.mended(p)
				e.Try("rm", "-f", "first")
				e.Hoy("network", "prune", "-f")
				if left := e.Hoy("network", "ls", "-q", "--filter", "type=custom"); left != "" {
					t.Errorf("cannot remove %s", left)
				}
				e.Hoy("network", "create", "one")
				e.Hoy(append([]string{"run", "-d", "--name", "second", "--network", "one", "-p", "18080-18081:80", "busybox"}, site("second")...)...)
				e.Eventually("the next container's page", func() bool { return page("127.0.0.1:18080") == "second" })
				e.Hoy("rm", "-f", "second")
				e.Hoy("network", "rm", "one")
				e.nothingLeft()
			})
		}
	}
}

// TestPortConflicts says which port is taken, by whom, and leaves nothing behind.
func TestPortConflicts(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	l, err := net.Listen("tcp", "127.0.0.1:18080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e.Hoy("run", "-d", "--name", "holder", "-p", "18081:80", "-p", "18082:81", "busybox", "sleep", "1000")
	for port, says := range map[string]string{
		"18080":       "failed to bind host port 0.0.0.0:18080/tcp: address already in use",
		"18081":       "Bind for 0.0.0.0:18081 failed: port is already allocated",
		"18081-18082": "all ports are allocated",
	} {
		r := e.Try("run", "--name", "other", "-p", port+":80", "busybox", "true")
		if r.Code != 125 || !strings.Contains(r.Stderr, says) {
			t.Errorf("%s: exit code %d, %q; want %q", port, r.Code, r.Stderr, says)
		}
		e.Hoy("rm", "other")
	}
	if r := e.Try("run", "--rm", "-p", "18080-18083:80", "busybox", "true"); r.Code != 0 {
		t.Errorf("a range with a free port: %+v", r)
	}
}

// TestPortExplain says who can reach a published port.
func TestPortExplain(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	e.Hoy("run", "-d", "--name", "con", "-p", "18080:80", "-p", "127.0.0.1:18081:81/udp", "busybox", "sleep", "1000")
	got := e.Hoy("port", "--explain", "con", "81/udp")
	if !strings.HasPrefix(got, "127.0.0.1:18081/udp -> ") || !strings.Contains(got, "this host can reach it") || !strings.Contains(got, "everybody else cannot reach it") {
		t.Errorf("a port of the host alone:\n%s", got)
	}
	if got := e.Hoy("port", "--explain", "con"); strings.Count(got, " -> ") != 3 || !strings.Contains(got, "everybody can reach it: the host has no firewall") {
		t.Errorf("all ports:\n%s", got)
	}
	if r := e.Try("port", "--explain", "con", "82"); r.Code == 0 || !strings.Contains(r.Stderr, "no such published port") {
		t.Errorf("a port that is not published: %+v", r)
	}
}

// TestHairpin lets containers reach published ports by the host's address, their own too,
// whether or not the packet filter sees what passes within a bridge.
func TestHairpin(t *testing.T) {
	const filtered = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	for _, value := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables "+value, func(t *testing.T) {
			rootful.Check(t)
			if err := os.WriteFile(filtered, []byte(value), 0); errors.Is(err, os.ErrNotExist) {
				t.Log("this machine has no br_netfilter: nothing within a bridge is seen")
			}
			e := Start(t)
			e.ImportBusybox()
			e.Hoy("network", "create", "net")
			for _, network := range []string{"net", "bridge"} {
				e.Hoy(append([]string{"run", "-d", "--name", "web", "--network", network, "-p", "18080:80", "busybox"}, site("web")...)...)
				e.Hoy("run", "-d", "--name", "other", "--network", network, "busybox", "sleep", "1000")
				e.Eventually("the page", func() bool { return page("127.0.0.1:18080") == "web" })
				host := e.Hoy("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", "web")
				for _, from := range []string{"web", "other"} {
					if r := e.Try("exec", from, "timeout", "5", "wget", "-qO-", "http://"+host+":18080/"); r.Stdout != "web\n" {
						t.Errorf("network %s, from %s: %+v", network, from, r)
					}
				}
				e.Hoy("rm", "-f", "web", "other")
			}
			e.Hoy("network", "rm", "net")
		})
	}
}

// TestPortsObeyTheHostsFirewall opens a published port to the LAN when ufw does, and not
// before; the engine's traces in ufw's files go with it.
func TestPortsObeyTheHostsFirewall(t *testing.T) {
	rootful.Check(t)
	rootful.Own(t, "/etc/ufw", "/etc/default/ufw")
	before, err := os.ReadFile("/etc/ufw/before.rules")
	if err != nil {
		t.Fatalf("ufw is missing: install Debian's package, or use make test: %v", err)
	}
	ufw := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ufw", args...).CombinedOutput(); err != nil {
			t.Fatalf("ufw %v: %v: %s", args, err, out)
		}
	}
	w := lan.New(t)
	t.Cleanup(func() { ufw("--force", "disable"); exec.Command("nft", "flush", "ruleset").Run() })
	ufw("--force", "enable")
	e := Start(t)
	e.ImportBusybox()
	e.Hoy(append([]string{"run", "-d", "--name", "web", "-p", "18080:80", "busybox"}, site("web")...)...)
	e.Eventually("the page", func() bool { return page("127.0.0.1:18080") == "web" })
	peer := func() (got string) {
		w.Peer.Do(func() error { got = page("192.0.2.1:18080"); return nil })
		return got
	}
	if got := peer(); got == "web" {
		t.Error("ufw denies what comes in, and the peer reaches the published port")
	}
	ufw("allow", "from", "192.0.2.2", "to", "any", "port", "18080", "proto", "tcp")
	e.Eventually("the page for the peer", func() bool { return peer() == "web" })
	if got := e.Hoy("port", "--explain", "web"); !strings.Contains(got, "192.0.2.2/32 can reach it: ufw allow 18080/tcp from 192.0.2.2") || !strings.Contains(got, "everybody else cannot reach it: ufw: by default") {
		t.Errorf("explained:\n%s", got)
	}
	e.Hoy("rm", "-f", "web")
	e.endGently()
	if after, err := os.ReadFile("/etc/ufw/before.rules"); err != nil || string(after) != string(before) {
		t.Errorf("before.rules is left as\n%s%v", after, err)
	}
	e.Up()
}

// TestWithoutRules: published ports lead to their container although the engine makes no
// rules for IPv4, IPv6 or both, and as well when the next one makes some.
func TestWithoutRules(t *testing.T) {
	const subnet, subnet6 = "10.91.0.0/24", "fd00:91::/64"
	for _, c := range []struct {
		flags, in, out []string // what is in the machine's tables, and what is not
	}{
		{[]string{"--ip6tables=false"}, []string{subnet}, []string{subnet6}},
		{[]string{"--iptables=false"}, []string{subnet6}, []string{subnet}},
		{[]string{"--iptables=false", "--ip6tables=false"}, nil, []string{"hoy"}},
	} {
		t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
			rootful.Check(t)
			w := lan.New(t)
			flags := []string{"--bip", "10.91.0.1/24", "--ipv6", "--bip6", "fd00:91::1/64"}
			e := Start(t, append(c.flags, flags...)...)
			e.ImportBusybox()
			e.Hoy(append([]string{"run", "-d", "--name", "web", "-p", "18080:80", "busybox"}, site("web")...)...)
			reached := func(when string) {
				t.Helper()
				for _, address := range []string{"192.0.2.1:18080", "[2001:db8:2::1]:18080"} {
					e.Eventually("the peer's page at "+address+" "+when, func() (got bool) {
						w.Peer.Do(func() error { got = page(address) == "web"; return nil })
						return got
					})
				}
			}
			tables := func(in, out []string) {
				t.Helper()
				b, err := exec.Command("nft", "list", "ruleset", "inet").CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, b)
				}
				for _, s := range in {
					if !strings.Contains(string(b), s) {
						t.Errorf("%s is not in\n%s", s, b)
					}
				}
				for _, s := range out {
					if strings.Contains(string(b), s) {
						t.Errorf("%s is in\n%s", s, b)
					}
				}
			}
			reached("without rules")
			tables(c.in, c.out)
			if r := e.Try("network", "create", "--ipv6", "-o", "com.docker.network.bridge.enable_icc=false", "apart"); r.Code == 0 || !strings.Contains(r.Stderr, "without rules") {
				t.Errorf("a network that needs rules: %+v", r)
			}
			e.Kill()
			all := e.flags
			e.flags = slices.DeleteFunc(slices.Clone(all), func(f string) bool { return strings.HasSuffix(f, "tables=false") })
			e.Up()
			reached("with rules")
			tables([]string{subnet, subnet6}, nil)
			e.Kill()
			e.flags = all
			e.Up()
			reached("without rules again")
			tables(c.in, c.out)
		})
	}
}
