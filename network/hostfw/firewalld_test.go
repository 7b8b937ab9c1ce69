package hostfw

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/test/eventually"
	"hoy/test/lan"
	"hoy/test/rootful"
)

// startFirewalld runs the message bus and firewalld for this test's network namespace,
// with configurations of its own.
func startFirewalld(t *testing.T) {
	t.Helper()
	rootful.Own(t, "/etc/firewalld")
	lan.Must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	t.Cleanup(func() { lan.Must(t, unix.Unmount("/run", unix.MNT_DETACH)) })
	lan.Must(t, os.MkdirAll("/run/dbus", 0o755))
	// The system's bus, but for programs that it would start by itself and leave behind.
	conf, err := os.ReadFile("/usr/share/dbus-1/system.conf")
	lan.Must(t, err)
	own := strings.NewReplacer("<standard_system_servicedirs/>", "", "<includedir>system.d", "<includedir>/usr/share/dbus-1/system.d").Replace(string(conf))
	lan.Must(t, os.WriteFile("/run/dbus/system.conf", []byte(own), 0o644))
	for _, c := range []*exec.Cmd{exec.Command("dbus-daemon", "--config-file=/run/dbus/system.conf", "--nofork", "--nopidfile"), exec.Command("firewalld", "--nofork", "--nopid")} {
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		lan.Must(t, c.Start())
		t.Cleanup(func() {
			c.Process.Signal(unix.SIGTERM)
			c.Wait()
			if t.Failed() {
				t.Log(out.String())
			}
		})
		eventually.True(t, "the message bus", func() bool {
			_, err := os.Stat("/run/dbus/system_bus_socket")
			return err == nil || c.Args[0] != "dbus-daemon"
		})
	}
	eventually.True(t, "firewalld", func() bool { return exec.Command("firewall-cmd", "--state").Run() == nil })
}

func linkAddressOf(t *testing.T, h lan.Host) (mac string) {
	t.Helper()
	lan.Must(t, h.Do(func() error {
		l, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = l.HardwareAddr.String()
		}
		return err
	}))
	return mac
}

// TestFirewalld: as TestUFW, with zones.
func TestFirewalld(t *testing.T) {
	rootful.Check(t)
	w := lan.New(t)
	e := start(t)
	e.becomes(w, "tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080")
	startFirewalld(t)
	t.Cleanup(func() { run(t, "nft", "flush", "ruleset") })
	cmd := func(args ...string) { t.Helper(); run(t, "firewall-cmd", args...) }

	closed := []string{
		"tcp peer 192.0.2.1:8080 no", "udp peer 192.0.2.1:8080 no", "tcp peer [2001:db8:2::1]:8080 no", "tcp far 192.0.2.1:8080 no",
		"tcp host 192.0.2.1:8080", "tcp host 127.0.0.1:8080", "tcp host [2001:db8:2::1]:8080",
		"tcp web 192.0.2.2:80", "udp web 192.0.2.2:80", "tcp web [2001:db8:2::2]:80", "tcp db 172.17.0.2:80",
		"tcp db 192.0.2.1:8080 no",
	}
	e.becomes(w, closed...)

	cmd("--permanent", "--add-port", "8080/tcp")
	cmd("--reload")
	open := []string{
		"tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080", "tcp far 192.0.2.1:8080",
		"udp peer 192.0.2.1:8080 no", "tcp peer 192.0.2.1:8081 no", "tcp web 192.0.2.2:80", "tcp web [2001:db8:2::2]:80",
	}
	e.becomes(w, open...)
	cmd("--reload")
	e.becomes(w, open...)
	cmd("--permanent", "--remove-port", "8080/tcp")
	cmd("--reload")
	e.becomes(w, closed...)

	// While it runs, and in no file.
	cmd("--add-port", "8080-8081/tcp")
	e.becomes(w, "tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8081", "udp peer 192.0.2.1:8080 no")
	cmd("--add-rich-rule", `rule family="ipv4" priority="-5" source NOT address="198.51.100.0/24" drop`)
	e.becomes(w, "tcp peer 192.0.2.1:8080 no", "tcp far 192.0.2.1:8080")
	cmd("--reload")
	e.becomes(w, closed...)

	// Sets of addresses, as they change, and link addresses.
	cmd("--permanent", "--new-ipset", "friends", "--type", "hash:net", "--family", "inet")
	cmd("--permanent", "--ipset", "friends", "--add-entry", "198.51.100.0/24")
	cmd("--permanent", "--zone", "trusted", "--add-source", "ipset:friends")
	cmd("--reload")
	e.becomes(w, "tcp far 192.0.2.1:8080", "udp far 192.0.2.1:8081", "tcp peer 192.0.2.1:8080 no", "tcp far [2001:db8:2::1]:8080 no")
	cmd("--ipset", "friends", "--add-entry", "192.0.2.0/25")
	e.becomes(w, "tcp far 192.0.2.1:8080", "tcp peer 192.0.2.1:8080", "udp peer 192.0.2.1:8080")
	cmd("--ipset", "friends", "--remove-entry", "198.51.100.0/24")
	e.becomes(w, "tcp far 192.0.2.1:8080 no", "tcp peer 192.0.2.1:8080")
	cmd("--permanent", "--zone", "trusted", "--remove-source", "ipset:friends")
	cmd("--permanent", "--zone", "trusted", "--add-source", linkAddressOf(t, w.Peer))
	cmd("--reload")
	e.becomes(w, "tcp far 192.0.2.1:8080 no", "tcp peer 192.0.2.1:8080", "tcp peer [2001:db8:2::1]:8080")
	cmd("--permanent", "--zone", "trusted", "--remove-source", linkAddressOf(t, w.Peer))
	cmd("--reload")
	e.becomes(w, closed...)

	// Zones by link and by source, with a target and rich rules.
	cmd("--permanent", "--zone", "trusted", "--add-source", "198.51.100.0/24")
	cmd("--permanent", "--zone", "dmz", "--change-interface", "lan0")
	cmd("--permanent", "--zone", "dmz", "--add-rich-rule", `rule family="ipv4" source address="192.0.2.0/24" port port="8081" protocol="tcp" accept`)
	cmd("--permanent", "--zone", "dmz", "--add-rich-rule", `rule family="ipv6" source address="2001:db8:2::2" drop`)
	cmd("--permanent", "--zone", "dmz", "--add-service", "jenkins")
	cmd("--reload")
	e.becomes(w, "tcp peer 192.0.2.1:8081", "tcp far 192.0.2.1:8081", "udp far 192.0.2.1:8081", "tcp far [2001:db8:2::1]:8081 no",
		"tcp peer 192.0.2.1:8080", "tcp far [2001:db8:2::1]:8080", "tcp peer [2001:db8:2::1]:8080 no", "udp peer 192.0.2.1:8080 no")
}
