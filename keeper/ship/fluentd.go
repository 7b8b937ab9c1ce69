package ship

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"time"
)

func fluentdAddress(s string) error { _, err := parseFluentdAddress(s); return err }

func parseFluentdAddress(s string) (address, error) {
	if s == "" {
		s = "127.0.0.1"
	}
	if !strings.Contains(s, "://") {
		s = "tcp://" + s
	}
	return parseAddress(s, "24224", map[string]string{"tcp": "tcp", "tls": "tls", "unix": "unix"})
}

func fluentdRetry(o map[string]string) (time.Duration, int) {
	most, _ := strconv.Atoi(o["fluentd-max-retries"])
	wait := duration0(o, "fluentd-retry-wait", time.Second)
	return duration0(o, "fluentd-async-reconnect-interval", wait), most
}

// fluentd speaks the Forward protocol v1 in message mode: MessagePack arrays
// [tag, time, record, options] over a stream.
type fluentd struct {
	c          *Config
	conn       net.Conn
	ack, exact bool
	read       time.Duration
	write      time.Duration
}

func openFluentd(c *Config) (Target, error) {
	o := c.Options
	a, err := parseFluentdAddress(o["fluentd-address"])
	if err != nil {
		return nil, err
	}
	f := &fluentd{c: c, ack: isTrue(o, "fluentd-request-ack"), exact: isTrue(o, "fluentd-sub-second-precision"),
		read: duration0(o, "fluentd-read-timeout", timeout), write: duration0(o, "fluentd-write-timeout", timeout)}
	config, err := tlsConfig("", "", "", false)
	if err != nil {
		return nil, err
	}
	f.conn, err = dial(a, config)
	return f, err
}

func (f *fluentd) Close() error { return f.conn.Close() }

func (f *fluentd) Send(l Line) error {
	chunk := ""
	if f.ack {
		var b [16]byte
		rand.Read(b[:])
		chunk = base64.StdEncoding.EncodeToString(b[:])
	}
	err := send(f.conn, f.message(l, chunk), f.write)
	if err == nil && f.ack {
		err = f.acknowledged(chunk)
	}
	if err != nil {
		f.conn.Close()
	}
	return err
}

// acknowledged waits for {"ack": chunk}.
func (f *fluentd) acknowledged(chunk string) error {
	want := packString(packString([]byte{0x81}, "ack"), chunk)
	got := make([]byte, len(want))
	f.conn.SetReadDeadline(time.Now().Add(f.read))
	for n := 0; n < len(got); {
		k, err := f.conn.Read(got[n:])
		if err != nil {
			return err
		}
		n += k
	}
	if !bytes.Equal(got, want) {
		return invalid("fluentd acknowledged something else")
	}
	return nil
}

func (f *fluentd) message(l Line, chunk string) []byte {
	source := "stdout"
	if l.Stderr {
		source = "stderr"
	}
	record := map[string]string{"container_id": f.c.ID, "container_name": "/" + f.c.Name, "source": source, "log": string(l.Text)}
	for k, v := range f.c.Attrs {
		record[k] = v
	}
	if p := l.Piece; p.ID != "" {
		record["partial_message"], record["partial_id"] = "true", p.ID
		record["partial_ordinal"], record["partial_last"] = strconv.Itoa(p.Ordinal), strconv.FormatBool(p.Last)
	}
	b := packString([]byte{0x94}, f.c.Tag)
	if f.exact { // EventTime: extension type 0, seconds and nanoseconds
		b = append(b, 0xd7, 0x00)
		b = binary.BigEndian.AppendUint32(b, uint32(l.Time.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(l.Time.Nanosecond()))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 0xcf), uint64(l.Time.Unix()))
	}
	b = packMap(b, len(record))
	for k, v := range record {
		b = packString(packString(b, k), v)
	}
	if chunk == "" {
		return packMap(b, 0)
	}
	return packString(packString(packMap(b, 1), "chunk"), chunk)
}

// packMap appends the head of a MessagePack map of n pairs.
func packMap(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x80|byte(n))
	}
	return binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
}

// packString appends a MessagePack string.
func packString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n < 1<<8:
		b = append(b, 0xd9, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}
