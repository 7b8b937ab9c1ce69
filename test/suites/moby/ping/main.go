// Command ping stands in for inetutils', as ping and as ping6: it knows what moby's tests use
// of it on the machine itself.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func main() {
	flag.Bool("numeric", false, "")
	flag.Int("count", 1, "")
	seconds := flag.Int("timeout", 10, "")
	flag.Parse()
	err := ping(filepath.Base(os.Args[0]) == "ping6", flag.Arg(0), time.Duration(*seconds)*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ping:", err)
		os.Exit(1)
	}
}

// ping sends one echo request and waits for the answer.
func ping(six bool, address string, patience time.Duration) error {
	network, any, protocol := "ip4:icmp", "0.0.0.0", 1
	request, reply := icmp.Type(ipv4.ICMPTypeEcho), icmp.Type(ipv4.ICMPTypeEchoReply)
	if six {
		network, any, protocol = "ip6:ipv6-icmp", "::", 58
		request, reply = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	to, err := net.ResolveIPAddr(network[:3], address)
	if err != nil {
		return err
	}
	conn, err := icmp.ListenPacket(network, any)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	mine := fmt.Appendf(nil, "%d %s", os.Getpid(), time.Now())
	m, err := (&icmp.Message{Type: request, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Data: mine}}).Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := conn.WriteTo(m, to); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		got, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || got.Type != reply {
			continue
		}
		if echo, ok := got.Body.(*icmp.Echo); ok && bytes.Equal(echo.Data, mine) {
			return nil
		}
	}
}
