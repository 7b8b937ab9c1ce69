package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	hoynet "hoy/linux/netlink"
	"hoy/test/dockerd"
)

// A carrier is a host of its own with two containers on a bridge and a peer in its LAN.
type carrier struct {
	name                string
	host, peer, one, to *os.File // network namespaces; to serves
	published           string   // where the peer finds it
	close               func()
}

func newNamespace() (*os.File, error) {
	ns, err := hoynet.NewNamespace()
	if err == nil {
		err = hoynet.LoopbackUp(ns)
	}
	return ns, err
}

// plug makes a veth pair: one end in the host, below a bridge if there is a name of one.
func (c *carrier) plug(name string, into *os.File, address, bridge, gateway string) error {
	err := hoynet.In(c.host, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, PeerName: "eth0", PeerNamespace: netlink.NsFd(into.Fd())}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		if bridge != "" {
			b, err := netlink.LinkByName(bridge)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMaster(v, b); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(v)
	})
	if err == nil {
		err = hoynet.In(into, func() error { return address4("eth0", address) })
	}
	if err != nil || gateway == "" {
		return err
	}
	return hoynet.In(into, func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}) })
}

func address4(link, address string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// newCarrier makes the host and its peer.
func newCarrier(name string) (c *carrier, err error) {
	c = &carrier{name: name, published: "192.0.2.1:18080", close: func() {}}
	if c.host, err = newNamespace(); err != nil {
		return nil, err
	}
	if c.peer, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := c.plug("lan0", c.peer, "192.0.2.2/24", "", ""); err != nil {
		return nil, err
	}
	return c, hoynet.In(c.host, func() error { return address4("lan0", "192.0.2.1/24") })
}

// bare is what the kernel does without any rule: the peer has a route to the container.
func bare() (*carrier, error) {
	c, err := newCarrier("bare veth pairs, no rules")
	if err != nil {
		return nil, err
	}
	c.published = "172.30.0.3:80"
	if err := hoynet.In(c.host, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			return err
		}
		return errors.Join(address4("br0", "172.30.0.1/24"), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	}); err != nil {
		return nil, err
	}
	if c.one, err = newNamespace(); err != nil {
		return nil, err
	}
	if c.to, err = newNamespace(); err != nil {
		return nil, err
	}
	return c, errors.Join(c.plug("one", c.one, "172.30.0.2/24", "br0", "172.30.0.1"), c.plug("to", c.to, "172.30.0.3/24", "br0", "172.30.0.1"),
		hoynet.In(c.peer, func() error {
			_, all, _ := net.ParseCIDR("172.30.0.0/24")
			return netlink.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP("192.0.2.1")})
		}))
}

// containers starts the two by a docker-like command line.
func (c *carrier) containers(command func(args ...string) *exec.Cmd, image string) error {
	return hoynet.In(c.host, func() error {
		for name, ports := range map[string][]string{"one": nil, "to": {"-p", "18080:80", "-p", "18090:90"}} {
			if _, err := output(command(slices.Concat([]string{"run", "-d", "--name", name}, ports, []string{image, "sleep", "100000"})...)); err != nil {
				return err
			}
			pid, err := output(command("inspect", "-f", "{{.State.Pid}}", name))
			if err != nil {
				return err
			}
			ns, err := os.Open("/proc/" + pid + "/ns/net")
			if err != nil {
				return err
			}
			if name == "one" {
				c.one = ns
			} else {
				c.to = ns
			}
		}
		return nil
	})
}

// carriers are the engines that are here, beside the bare one.
func carriers(dir, reference string) (all []*carrier, err error) {
	b, err := bare()
	if err != nil {
		return nil, err
	}
	all = append(all, b)
	h, err := newCarrier("hoy")
	if err != nil {
		return nil, err
	}
	var e *engine
	if err := hoynet.In(h.host, func() (err error) { e, err = startEngine(); return err }); err != nil {
		return all, err
	}
	h.close = e.close
	all = append(all, h)
	if err := h.containers(e.hoy, "hoy/toolbox"); err != nil {
		return all, err
	}
	archive := filepath.Join(dir, "toolbox.tar")
	if _, err := output(e.hoy("save", "-o", archive, "hoy/toolbox")); err != nil {
		return all, err
	}
	if reference == "" {
		fmt.Println("docker: no engine (make reference)")
		return all, nil
	}
	r, err := newCarrier("docker")
	if err != nil {
		return all, err
	}
	var d *dockerd.Daemon
	if err := hoynet.In(r.host, func() (err error) { d, err = dockerd.Start(reference, filepath.Join(dir, "d")); return err }); err != nil {
		fmt.Println("docker:", err)
		return all, nil
	}
	docker := func(args ...string) *exec.Cmd { return hoyAt(d.Host, args...) }
	r.close = func() { docker("rm", "-f", "one", "to").Run(); d.Stop() }
	all = append(all, r)
	if _, err := output(docker("load", "-i", archive)); err != nil {
		return all, err
	}
	return all, r.containers(docker, "hoy/toolbox")
}

// serve answers bytes at port 80 and takes what comes at port 90.
func (c *carrier) serve() (address string, err error) {
	err = hoynet.In(c.to, func() error {
		for port, do := range map[string]func(net.Conn){
			":80": func(s net.Conn) { io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s}) },
			":90": func(s net.Conn) { io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}) },
		} {
			l, err := net.Listen("tcp4", port)
			if err != nil {
				return err
			}
			go func() {
				for {
					s, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer s.Close(); do(s) }()
				}
			}()
		}
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if p, ok := a.(*net.IPNet); ok && p.IP.To4() != nil && !p.IP.IsLoopback() {
				address = p.IP.String()
			}
		}
		return err
	})
	return address, err
}

// carried measures one way: Gbit/s, and µs of an exchange of a byte and of a connection.
func carried(from *os.File, echo, discard string) (gbit, exchange, connect float64, err error) {
	dial := func(to string) (s net.Conn, err error) {
		err = hoynet.In(from, func() (err error) { s, err = net.DialTimeout("tcp4", to, 5*time.Second); return err })
		return s, err
	}
	s, err := dial(discard)
	if err != nil {
		return 0, 0, 0, err
	}
	chunk, sent, begin := bytes.Repeat([]byte{1}, 256<<10), 0, time.Now()
	for time.Since(begin) < 500*time.Millisecond {
		n, err := s.Write(chunk)
		if err != nil {
			return 0, 0, 0, err
		}
		sent += n
	}
	gbit = float64(sent) * 8 / time.Since(begin).Seconds() / 1e9
	s.Close()
	var us [2][]float64
	note := func(i int, begin time.Time) { us[i] = append(us[i], float64(time.Since(begin).Nanoseconds())/1e3) }
	for range 100 {
		begin := time.Now()
		if s, err = dial(echo); err != nil {
			return 0, 0, 0, err
		}
		note(1, begin)
		for range 20 {
			begin := time.Now()
			if _, err = s.Write(chunk[:1]); err == nil {
				_, err = io.ReadFull(s, make([]byte, 1))
			}
			if err != nil {
				return 0, 0, 0, err
			}
			note(0, begin)
		}
		s.Close()
	}
	return gbit, median(us[0]), median(us[1]), nil
}

// carry compares what networks carry, in turns.
func carry(reference string, rounds int) error {
	dir, err := os.MkdirTemp("", "hoy-bench-n")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := carriers(dir, reference)
	defer func() {
		for _, c := range slices.Backward(all) {
			c.close()
		}
	}()
	if err != nil {
		return err
	}
	var figures [2]map[string][3][]float64
	figures[0], figures[1] = map[string][3][]float64{}, map[string][3][]float64{}
	addresses := map[string]string{}
	for _, c := range all {
		if addresses[c.name], err = c.serve(); err != nil {
			return err
		}
	}
	for range rounds {
		for _, c := range all {
			host, port, _ := net.SplitHostPort(c.published)
			discard := host + ":" + map[string]string{"80": "90", "18080": "18090"}[port]
			a := addresses[c.name]
			for i, way := range []struct {
				from          *os.File
				echo, discard string
			}{{c.one, a + ":80", a + ":90"}, {c.peer, c.published, discard}} {
				g, x, n, err := carried(way.from, way.echo, way.discard)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				f := figures[i][c.name]
				f[0], f[1], f[2] = append(f[0], g), append(f[1], x), append(f[2], n)
				figures[i][c.name] = f
			}
		}
	}
	for i, way := range []string{"container to container", "peer to published port"} {
		fmt.Printf("\n== %s, in turns: Gbit/s, µs of an exchange, µs of a connection; median (best)\n", way)
		for _, c := range all {
			f := figures[i][c.name]
			fmt.Printf("%-34s %6.1f (%.1f) %8.1f (%.1f) %8.1f (%.1f)\n", c.name, median(f[0]), slices.Max(f[0]), median(f[1]), slices.Min(f[1]), median(f[2]), slices.Min(f[2]))
		}
	}
	return nil
}
