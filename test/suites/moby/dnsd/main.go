// Command dnsd stands in for busybox's, which Debian leaves out: it answers for the names of
// /etc/dnsd.conf with the addresses that they have there.
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	if err := serve("/etc/dnsd.conf"); err != nil {
		fmt.Fprintln(os.Stderr, "dnsd:", err)
		os.Exit(1)
	}
}

func serve(config string) error {
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	known := map[string]netip.Addr{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 {
			a, err := netip.ParseAddr(f[1])
			if err != nil {
				return err
			}
			known[f[0]+"."] = a
		}
	}
	conn, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if a, err := answer(buf[:n], known); err == nil {
			conn.WriteTo(a, from)
		}
	}
}

func answer(question []byte, known map[string]netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil, fmt.Errorf("not one question: %w", err)
	}
	q := m.Questions[0]
	a, ok := known[strings.ToLower(q.Name.String())]
	m.Response, m.Additionals = true, nil
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA && a.Is4():
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: a.As4()}}}
	}
	return m.Pack()
}
