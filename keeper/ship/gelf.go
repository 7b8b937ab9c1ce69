package ship

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

func gelfAddress(s string) error { _, err := parseGELFAddress(s); return err }

func parseGELFAddress(s string) (address, error) {
	return parseAddress(s, "", map[string]string{"udp": "udp", "tcp": "tcp"})
}

func checkGELF(o map[string]string) error {
	if o["gelf-address"] == "" {
		return invalid("gelf-address is a required parameter")
	}
	a, _ := parseGELFAddress(o["gelf-address"])
	for key := range o {
		switch {
		case a.network == "tcp" && (key == "gelf-compression-type" || key == "gelf-compression-level"):
			return invalid("compression is only supported on UDP")
		case a.network == "udp" && (key == "gelf-tcp-max-reconnect" || key == "gelf-tcp-reconnect-delay"):
			return invalid("%s is only supported on TCP", key)
		}
	}
	return nil
}

func gelfRetry(o map[string]string) (time.Duration, int) {
	wait := time.Second
	if n, err := strconv.Atoi(o["gelf-tcp-reconnect-delay"]); err == nil && n > 0 {
		wait = time.Duration(n) * time.Second
	}
	most, _ := strconv.Atoi(o["gelf-tcp-max-reconnect"])
	return wait, most
}

// gelf sends Graylog Extended Log Format 1.1: over UDP a compressed message in one or
// several chunks, over TCP each message with a zero byte behind it.
type gelf struct {
	c        *Config
	conn     net.Conn
	udp      bool
	compress func(io.Writer) io.WriteCloser // nil: not
}

// What the format allows of a chunked message.
const (
	gelfChunk  = 1420 // bytes of a datagram that pass everywhere
	gelfHeader = 12
	gelfChunks = 128
)

func openGELF(c *Config) (Target, error) {
	a, err := parseGELFAddress(c.Options["gelf-address"])
	if err != nil {
		return nil, err
	}
	g := &gelf{c: c, udp: a.network == "udp"}
	level, err := strconv.Atoi(c.Options["gelf-compression-level"])
	if err != nil {
		level = gzip.BestSpeed
	}
	if g.udp {
		g.compress = gelfCompression(c.Options["gelf-compression-type"], level)
	}
	g.conn, err = dial(a, nil)
	return g, err
}

// gelfCompression makes writers whose level number has checked.
func gelfCompression(kind string, level int) func(io.Writer) io.WriteCloser {
	switch kind {
	case "none":
		return nil
	case "zlib":
		return func(w io.Writer) io.WriteCloser { z, _ := zlib.NewWriterLevel(w, level); return z }
	}
	return func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, level); return z }
}

func (g *gelf) Send(l Line) error {
	b, err := g.message(l)
	if err != nil {
		return nil // a line that cannot be put into words is nobody's fault: the next may
	}
	if !g.udp {
		b = append(b, 0)
	}
	for _, datagram := range g.datagrams(b) {
		if err := send(g.conn, datagram, timeout); err != nil {
			g.conn.Close()
			return err
		}
	}
	return nil
}

func (g *gelf) Close() error { return g.conn.Close() }

func (g *gelf) message(l Line) ([]byte, error) {
	c := g.c
	m := map[string]any{
		"version": "1.1", "host": c.Host, "short_message": string(l.Text), "level": l.level(),
		"timestamp":     json.RawMessage(fmt.Sprintf("%d.%03d", l.Time.Unix(), l.Time.Nanosecond()/1e6)),
		"_container_id": c.ID, "_container_name": c.Name, "_image_id": c.ImageID, "_image_name": c.Image,
		"_command": c.Command, "_tag": c.Tag, "_created": c.Created,
	}
	for k, v := range c.Attrs {
		m["_"+k] = v
	}
	return json.Marshal(m)
}

// datagrams divides a message. One that needs more chunks than the format has is cut.
func (g *gelf) datagrams(b []byte) [][]byte {
	if !g.udp {
		return [][]byte{b}
	}
	if g.compress != nil {
		var buf bytes.Buffer
		z := g.compress(&buf)
		z.Write(b) // into memory: does not fail
		z.Close()
		b = buf.Bytes()
	}
	if len(b) <= gelfChunk {
		return [][]byte{b}
	}
	const room = gelfChunk - gelfHeader
	n := min((len(b)+room-1)/room, gelfChunks)
	var id [8]byte
	rand.Read(id[:])
	var list [][]byte
	for i := range n {
		head := append([]byte{0x1e, 0x0f}, id[:]...)
		list = append(list, append(append(head, byte(i), byte(n)), b[i*room:min(len(b), (i+1)*room)]...))
	}
	return list
}
