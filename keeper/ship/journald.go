package ship

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journalSocket is where systemd-journald listens.
const journalSocket = "/run/systemd/journal/socket"

// journald speaks the native protocol of systemd-journald
// (systemd.io/JOURNAL_NATIVE_PROTOCOL): fields as datagrams, or as a sealed memfd when
// they are too big for one.
type journald struct {
	c     *Config
	conn  *net.UnixConn
	fixed []byte // the fields that are the same for all lines
	buf   bytes.Buffer
	epoch string // tells this run of lines from others
	n     uint64
}

func openJournald(c *Config) (Target, error) { return openJournaldAt(c, journalSocket) }

func openJournaldAt(c *Config, path string) (Target, error) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	j := &journald{c: c, conn: conn, epoch: fmt.Sprintf("%s-%d", c.shortID(), time.Now().UnixNano())}
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"CONTAINER_ID", c.shortID()}, {"CONTAINER_ID_FULL", c.ID}, {"CONTAINER_NAME", c.Name}, {"CONTAINER_TAG", c.Tag},
		{"IMAGE_NAME", c.Image}, {"SYSLOG_IDENTIFIER", c.Tag}, {"CONTAINER_LOG_EPOCH", j.epoch},
	} {
		journalField(&b, f[0], []byte(f[1]))
	}
	for k, v := range c.Attrs {
		if name := journalName(k); name != "" {
			journalField(&b, name, []byte(v))
		}
	}
	j.fixed = b.Bytes()
	return j, nil
}

// journalName makes a label's name one that the journal takes: A-Z, 0-9, '_', not at
// its beginning.
func journalName(s string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		}
		return '_'
	}, s)
	return strings.TrimLeft(name, "_")
}

// journalField writes NAME=value, or with a length where the value has line ends.
func journalField(b *bytes.Buffer, name string, value []byte) {
	b.WriteString(name)
	if bytes.IndexByte(value, '\n') < 0 {
		b.WriteByte('=')
	} else {
		b.WriteByte('\n')
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
	}
	b.Write(value)
	b.WriteByte('\n')
}

func (j *journald) Send(l Line) error {
	j.n++
	b := &j.buf
	b.Reset()
	b.Write(j.fixed)
	fmt.Fprintf(b, "PRIORITY=%d\nCONTAINER_LOG_ORDINAL=%d\nSYSLOG_TIMESTAMP=%s\n", l.level(), j.n, l.Time.UTC().Format(time.RFC3339Nano))
	if p := l.Piece; p.ID != "" {
		fmt.Fprintf(b, "CONTAINER_PARTIAL_ID=%s\nCONTAINER_PARTIAL_ORDINAL=%d\nCONTAINER_PARTIAL_LAST=%s\n", p.ID, p.Ordinal, strconv.FormatBool(p.Last))
		if !p.Last {
			b.WriteString("CONTAINER_PARTIAL_MESSAGE=true\n")
		}
	}
	journalField(b, "MESSAGE", l.Text)
	err := send(j.conn, b.Bytes(), timeout)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		err = j.sendFile(b.Bytes())
	}
	if err != nil {
		j.conn.Close()
	}
	return err
}

// sendFile gives the fields as a sealed file.
func (j *journald) sendFile(b []byte) error {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, b); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return err
	}
	raw, err := j.conn.SyscallConn()
	if err != nil {
		return err
	}
	j.conn.SetWriteDeadline(time.Now().Add(timeout))
	werr := raw.Write(func(to uintptr) bool {
		err = unix.Sendmsg(int(to), nil, unix.UnixRights(fd), nil, 0)
		return err != unix.EAGAIN
	})
	return errors.Join(werr, err)
}

func (j *journald) Close() error { return j.conn.Close() }
