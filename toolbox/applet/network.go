package applet

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// network are simple programs that use the network.
func network() map[string]program {
	return map[string]program{"ip": ip, "nc": nc, "wget": wget, "nslookup": nslookup, "ping": ping, "httpd": httpd}
}

func ip(c *call) error {
	what := "addr"
	if len(c.args) > 0 {
		what = c.args[0]
	}
	switch {
	case strings.HasPrefix("address", what), strings.HasPrefix("link", what):
		return ipAddr(c)
	case strings.HasPrefix("route", what):
		return ipRoute(c)
	}
	return c.usage("addr|link|route")
}

func ipAddr(c *call) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		a := l.Attrs()
		fmt.Fprintf(c.out, "%d: %s: <%s> mtu %d state %s\n", a.Index, a.Name, strings.ToUpper(strings.ReplaceAll(a.Flags.String(), "|", ",")), a.MTU, strings.ToUpper(a.OperState.String()))
		if len(a.HardwareAddr) > 0 {
			fmt.Fprintf(c.out, "    link/%s %s\n", a.EncapType, a.HardwareAddr)
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, ad := range addrs {
			family := "inet"
			if ad.IP.To4() == nil {
				family = "inet6"
			}
			fmt.Fprintf(c.out, "    %s %s\n", family, ad.IPNet)
		}
	}
	return nil
}

func ipRoute(c *call) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, r := range routes {
		dst := "default"
		if r.Dst != nil && r.Dst.String() != "0.0.0.0/0" {
			dst = r.Dst.String()
		}
		if r.Gw != nil {
			dst += " via " + r.Gw.String()
		}
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			dst += " dev " + l.Attrs().Name
		}
		if r.Src != nil {
			dst += " src " + r.Src.String()
		}
		fmt.Fprintln(c.out, dst)
	}
	return nil
}

// nc connects, or with -l listens for one connection, and passes bytes both ways.
func nc(c *call) error {
	opt, rest, err := flags(c.args, "lup:w:")
	if err != nil {
		return err
	}
	proto := "tcp"
	if _, ok := opt['u']; ok {
		proto = "udp"
	}
	var conn net.Conn
	if _, listen := opt['l']; listen {
		port := opt['p']
		if port == "" && len(rest) > 0 {
			port = rest[len(rest)-1]
		}
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		defer l.Close()
		if conn, err = l.Accept(); err != nil {
			return err
		}
	} else {
		if len(rest) != 2 {
			return c.usage("[-u] [-w SECONDS] HOST PORT | -l PORT")
		}
		wait, _ := strconv.Atoi(opt['w'])
		if conn, err = net.DialTimeout(proto, net.JoinHostPort(rest[0], rest[1]), time.Duration(wait)*time.Second); err != nil {
			return err
		}
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, c.in)
		if t, ok := conn.(*net.TCPConn); ok {
			t.CloseWrite()
		}
	}()
	_, err = io.Copy(flushing{c.out, c}, conn)
	return err
}

func wget(c *call) error {
	opt, rest, err := flags(c.args, "qO:T:")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return c.usage("[-q] [-O FILE] [-T SECONDS] URL")
	}
	u := rest[0]
	if !strings.Contains(u, "://") {
		u = "http://" + u
	}
	secs, _ := strconv.Atoi(opt['T'])
	resp, err := (&http.Client{Timeout: time.Duration(secs) * time.Second}).Get(u)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return fmt.Errorf("server answered %s", resp.Status)
	}
	to := opt['O']
	if to == "-" {
		_, err := io.Copy(c.out, resp.Body)
		return err
	}
	if to == "" {
		parsed, err := url.Parse(u)
		if err != nil {
			return err
		}
		if to = path.Base(parsed.Path); to == "/" || to == "." {
			to = "index.html"
		}
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, resp.Body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if _, quiet := opt['q']; !quiet && err == nil {
		fmt.Fprintf(c.err, "%s: %s\n", to, size(uint64(n)))
	}
	return err
}

func nslookup(c *call) error {
	if len(c.args) == 0 {
		return c.usage("NAME [SERVER]")
	}
	r := &net.Resolver{PreferGo: true}
	if len(c.args) > 1 {
		server := net.JoinHostPort(c.args[1], "53")
		r.Dial = func(ctx context.Context, proto, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, proto, server)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addrs, err := r.LookupHost(ctx, c.args[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Name: %s\n", c.args[0])
	for _, a := range addrs {
		fmt.Fprintf(c.out, "Address: %s\n", a)
	}
	return nil
}

// ping sends ICMP echo requests by an unprivileged ICMP socket (icmp(7)) where the
// kernel allows the caller's group one, else by a raw socket.
func ping(c *call) error {
	opt, rest, err := flags(c.args, "c:W:")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return c.usage("[-c COUNT] [-W SECONDS] HOST")
	}
	n, err := strconv.Atoi(opt['c'])
	if err != nil {
		n = 4
	}
	wait, err := strconv.Atoi(opt['W'])
	if err != nil {
		wait = 5
	}
	to, err := net.ResolveIPAddr("ip4", rest[0])
	if err != nil {
		return err
	}
	fd, raw, err := icmpSocket()
	if err != nil {
		return fmt.Errorf("cannot open an ICMP socket: %w", err)
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(wait)})
	got := 0
	for seq := 1; seq <= n; seq++ {
		start := time.Now()
		if err := echoOnce(fd, raw, to.IP, uint16(seq)); err != nil {
			fmt.Fprintf(c.out, "%s: seq=%d %v\n", to, seq, err)
		} else {
			got++
			fmt.Fprintf(c.out, "answer from %s: seq=%d time=%.3f ms\n", to, seq, float64(time.Since(start).Microseconds())/1000)
		}
		c.out.Flush()
		if seq < n {
			time.Sleep(time.Second - min(time.Second, time.Since(start)))
		}
	}
	fmt.Fprintf(c.out, "%d sent, %d answered\n", n, got)
	if got == 0 {
		return exit(1)
	}
	return nil
}

func icmpSocket() (fd int, raw bool, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		raw = true
	}
	return fd, raw, err
}

func echoOnce(fd int, raw bool, to net.IP, seq uint16) error {
	m := make([]byte, 16)
	m[0] = 8 // echo request, RFC 792
	binary.BigEndian.PutUint16(m[4:], uint16(os.Getpid()))
	binary.BigEndian.PutUint16(m[6:], seq)
	var sum uint32
	for i := 0; i < len(m); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(m[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum+sum>>16))
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrInet4{Addr: [4]byte(to.To4())}); err != nil {
		return err
	}
	buf := make([]byte, 256)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EAGAIN {
			return fmt.Errorf("no answer")
		}
		if err != nil {
			return err
		}
		b := buf[:n]
		if raw && n > 20 {
			b = b[int(b[0]&15)*4:]
		}
		if len(b) >= 8 && b[0] == 0 && binary.BigEndian.Uint16(b[6:]) == seq {
			return nil
		}
	}
}

// httpd serves the files of a directory.
func httpd(c *call) error {
	opt, rest, err := flags(c.args, "p:h:f")
	if err != nil {
		return err
	}
	port, dir := "80", "."
	if p, ok := opt['p']; ok {
		port = p
	}
	if h, ok := opt['h']; ok {
		dir = h
	}
	if len(rest) > 0 {
		dir = rest[0]
	}
	if !strings.Contains(port, ":") {
		port = ":" + port
	}
	return http.ListenAndServe(port, http.FileServer(http.Dir(dir)))
}
