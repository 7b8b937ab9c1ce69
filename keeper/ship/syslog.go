package ship

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

var facilities = []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}

func facility(s string) (int, error) {
	if s == "" {
		s = "daemon"
	}
	if i := slices.Index(facilities, s); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < len(facilities) {
		return n, nil
	}
	return 0, invalid("invalid syslog facility")
}

func syslogFacility(s string) error { _, err := facility(s); return err }

func syslogFormat(s string) error {
	if !slices.Contains([]string{"", "rfc3164", "rfc5424", "rfc5424micro"}, s) {
		return invalid("Invalid syslog format")
	}
	return nil
}

func syslogAddress(s string) error { _, err := parseSyslogAddress(s); return err }

func parseSyslogAddress(s string) (address, error) {
	if s == "" {
		return address{}, nil
	}
	return parseAddress(s, "514", map[string]string{"unix": "unix", "unixgram": "unixgram", "tcp": "tcp", "udp": "udp", "tcp+tls": "tls"})
}

// syslog sends RFC 3164 or RFC 5424 messages, or the short local form.
type syslog struct {
	c        *Config
	conn     net.Conn
	facility int
	stream   bool // messages need an end
	counted  bool // and a length before them (RFC 5425, 4.3)
	buf      bytes.Buffer
}

func openSyslog(c *Config) (Target, error) {
	o := c.Options
	a, err := parseSyslogAddress(o["syslog-address"])
	if err != nil {
		return nil, err
	}
	s := &syslog{c: c}
	if s.facility, err = facility(o["syslog-facility"]); err != nil {
		return nil, err
	}
	if a.network == "" {
		s.conn, err = dialLocal()
		return s, err
	}
	config, err := tlsConfig(o["syslog-tls-ca-cert"], o["syslog-tls-cert"], o["syslog-tls-key"], isTrue(o, "syslog-tls-skip-verify"))
	if err != nil {
		return nil, err
	}
	s.stream = a.network != "udp" && a.network != "unixgram"
	s.counted = a.network == "tls" && o["syslog-format"] != "" && o["syslog-format"] != "rfc3164"
	s.conn, err = dial(a, config)
	return s, err
}

// dialLocal connects to this machine's syslog, where systems have it.
func dialLocal() (conn net.Conn, err error) {
	for _, network := range []string{"unixgram", "unix"} {
		for _, path := range []string{"/dev/log", "/var/run/syslog", "/var/run/log"} {
			if conn, err = dial(address{network, path}, nil); err == nil {
				return conn, nil
			}
		}
	}
	return nil, err
}

func (s *syslog) Send(l Line) error {
	b := s.message(l)
	if err := send(s.conn, b, timeout); err != nil {
		s.conn.Close()
		return err
	}
	return nil
}

func (s *syslog) Close() error { return s.conn.Close() }

// message is valid until the next.
func (s *syslog) message(l Line) []byte {
	s.buf.Reset()
	priority, tag, pid, at := s.facility<<3|l.level(), s.c.Tag, os.Getpid(), l.Time.Local()
	switch s.c.Options["syslog-format"] {
	case "":
		fmt.Fprintf(&s.buf, "<%d>%s %s[%d]: ", priority, at.Format(time.Stamp), tag, pid)
	case "rfc3164":
		fmt.Fprintf(&s.buf, "<%d>%s %s %s[%d]: ", priority, at.Format(time.Stamp), s.c.Host, tag, pid)
	case "rfc5424":
		fmt.Fprintf(&s.buf, "<%d>1 %s %s %s %d %s - ", priority, at.Format(time.RFC3339), s.c.Host, tag, pid, tag)
	case "rfc5424micro":
		fmt.Fprintf(&s.buf, "<%d>1 %s %s %s %d %s - ", priority, at.Format("2006-01-02T15:04:05.000000Z07:00"), s.c.Host, tag, pid, tag)
	}
	s.buf.Write(l.Text)
	if s.counted {
		return append([]byte(strconv.Itoa(s.buf.Len())+" "), s.buf.Bytes()...)
	}
	if s.stream {
		s.buf.WriteByte('\n')
	}
	return s.buf.Bytes()
}
