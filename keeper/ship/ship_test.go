package ship

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.UTC)

func config(driver string, options ...string) *Config {
	c := &Config{Driver: driver, Options: map[string]string{}, Tag: "web", Host: "ship", Attrs: map[string]string{"com.example.a-b": "1"},
		ID: strings.Repeat("0123456789abcdef", 4), Name: "web", ImageID: "sha256:1", Image: "nginx", Command: "nginx -g x", Created: noon}
	for i := 0; i < len(options); i += 2 {
		c.Options[options[i]] = options[i+1]
	}
	return c
}

func line(text string, stderr bool) Line { return Line{Text: []byte(text), Stderr: stderr, Time: noon} }

// sendAll opens a target and sends lines.
func sendAll(t *testing.T, c *Config, lines ...Line) {
	t.Helper()
	if err := Check(c.Driver, c.Options); err != nil {
		t.Fatal(err)
	}
	target, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := target.Send(l); err != nil {
			t.Fatal(err)
		}
	}
	target.Close()
}

// packets listens for datagrams.
func packets(t *testing.T, network, at string) net.PacketConn {
	t.Helper()
	p, err := net.ListenPacket(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.SetDeadline(time.Now().Add(time.Minute))
	return p
}

func receive(t *testing.T, p net.PacketConn) []byte {
	t.Helper()
	b := make([]byte, 64<<10)
	n, _, err := p.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// stream accepts one connection and gives all that comes.
func stream(t *testing.T) (address string, all func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(c)
		c.Close()
		got <- string(b)
	}()
	return l.Addr().String(), func() string { return <-got }
}

func TestSyslogFormats(t *testing.T) {
	for _, tc := range []struct{ format, want string }{
		{"", `^<30>Jan  2 ..:00:00 web\[\d+\]: hello\n<27>Jan  2 ..:00:00 web\[\d+\]: bad\n$`},
		{"rfc3164", `^<30>Jan  2 ..:00:00 ship web\[\d+\]: hello\n<27>Jan`},
		{"rfc5424", `^<30>1 2026-01-02T..:00:00\S+ ship web \d+ web - hello\n`},
		{"rfc5424micro", `^<30>1 2026-01-02T..:00:00\.123456\S+ ship web \d+ web - hello\n`},
	} {
		at, all := stream(t)
		sendAll(t, config("syslog", "syslog-address", "tcp://"+at, "syslog-format", tc.format), line("hello", false), line("bad", true))
		if got := all(); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("%q: %q, want %s", tc.format, got, tc.want)
		}
	}
}

func TestSyslogSockets(t *testing.T) {
	udp := packets(t, "udp", "127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "log")
	local := packets(t, "unixgram", path)
	for address, p := range map[string]net.PacketConn{"udp://" + udp.LocalAddr().String(): udp, "unixgram://" + path: local} {
		sendAll(t, config("syslog", "syslog-address", address, "syslog-facility", "local3"), line("x", false))
		if got := string(receive(t, p)); !strings.HasPrefix(got, "<158>") || !strings.HasSuffix(got, ": x") {
			t.Errorf("%s: %q", address, got)
		}
	}
}

func TestGELF(t *testing.T) {
	at, all := stream(t)
	sendAll(t, config("gelf", "gelf-address", "tcp://"+at), line("hello", true), line("two", false))
	one, two, _ := strings.Cut(all(), "\x00")
	var m map[string]any
	if err := json.Unmarshal([]byte(one), &m); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"version": "1.1", "host": "ship", "short_message": "hello", "level": 3.0, "timestamp": 1767355200.123,
		"_container_name": "web", "_tag": "web", "_com.example.a-b": "1", "_image_name": "nginx"} {
		if m[k] != want {
			t.Errorf("%s: %v, want %v", k, m[k], want)
		}
	}
	if !strings.HasSuffix(two, "\x00") {
		t.Errorf("second message %q does not end", two)
	}
}

// TestGELFChunks puts the datagrams of a long line together again.
func TestGELFChunks(t *testing.T) {
	var long strings.Builder
	for i := range 2000 {
		fmt.Fprint(&long, i*i)
	}
	for kind, unpack := range map[string]func(io.Reader) (io.Reader, error){
		"none": func(r io.Reader) (io.Reader, error) { return r, nil },
		"zlib": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		p := packets(t, "udp", "127.0.0.1:0")
		sendAll(t, config("gelf", "gelf-address", "udp://"+p.LocalAddr().String(), "gelf-compression-type", kind), line(long.String(), false))
		var whole []byte
		for i, n := 0, 1; i < n; i++ {
			b := receive(t, p)
			if b[0] != 0x1e || b[1] != 0x0f || int(b[10]) != i || len(b) > gelfChunk {
				t.Fatalf("%s: chunk %d begins %x, %d bytes", kind, i, b[:12], len(b))
			}
			n, whole = int(b[11]), append(whole, b[12:]...)
		}
		r, err := unpack(bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Message string `json:"short_message"`
		}
		if err := json.NewDecoder(r).Decode(&m); err != nil || m.Message != long.String() {
			t.Errorf("%s: %v, %d bytes of message", kind, err, len(m.Message))
		}
	}
}

func TestJournald(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	p := packets(t, "unixgram", path)
	target, err := openJournaldAt(config("journald"), path)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := target.Send(line("hello", true)); err != nil {
		t.Fatal(err)
	}
	got := string(receive(t, p))
	for _, want := range []string{"PRIORITY=3\n", "MESSAGE=hello\n", "CONTAINER_ID=0123456789ab\n", "CONTAINER_NAME=web\n", "COM_EXAMPLE_A_B=1\n", "CONTAINER_LOG_ORDINAL=1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	l := line("two\nlines", false)
	l.Piece = Piece{"id", 1, false}
	if err := target.Send(l); err != nil {
		t.Fatal(err)
	}
	got = string(receive(t, p))
	for _, want := range []string{"MESSAGE\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n", "CONTAINER_PARTIAL_MESSAGE=true\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

// TestJournaldBigLine sends what does not fit into a datagram as a sealed file.
func TestJournaldBigLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	p := packets(t, "unixgram", path).(*net.UnixConn)
	target, err := openJournaldAt(config("journald"), path)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	big := strings.Repeat("x", 1<<20)
	if err := target.Send(line(big, false)); err != nil {
		t.Fatal(err)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := p.ReadMsgUnix(nil, oob)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("descriptors %v, %v", fds, err)
	}
	defer unix.Close(fds[0])
	b := make([]byte, 2<<20)
	k, err := unix.Pread(fds[0], b, 0)
	if err != nil || !strings.Contains(string(b[:k]), "MESSAGE="+big+"\n") {
		t.Errorf("file of %d bytes, %v", k, err)
	}
	if seals, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_WRITE == 0 {
		t.Errorf("seals %#x, %v", seals, err)
	}
}

func TestFluentdMessage(t *testing.T) {
	f := &fluentd{c: config("fluentd")}
	got := f.message(line("hello", false), "")
	if want := "\x94\xa3web\xcf\x00\x00\x00\x00\x69\x57\xb3\x40\x85"; !strings.HasPrefix(string(got), want) {
		t.Errorf("begins %q, want %q", got[:20], want)
	}
	for _, want := range []string{"\xa3log\xa5hello", "\xa6source\xa6stdout", "\xaecontainer_name\xa4/web", "\xafcom.example.a-b\xa11", "\xaccontainer_id\xd9\x40"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	f.exact = true
	if got := f.message(line("", false), "c"); !bytes.Contains(got, []byte("\xd7\x00\x69\x57\xb3\x40\x07\x5b\xcd\x15")) || !bytes.HasSuffix(got, []byte("\x81\xa5chunk\xa1c")) {
		t.Errorf("exact time, with a chunk: %q", got)
	}
}

func TestFluentdAcknowledges(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		i := bytes.Index(b[:n], []byte("chunk"))
		c.Write(append([]byte("\x81\xa3ack"), b[i+5:n]...)) // the chunk's name, packed
		c.Read(b)                                           // the second line
		c.Close()                                           // and no acknowledgement
	}()
	target, err := Open(config("fluentd", "fluentd-address", l.Addr().String(), "fluentd-request-ack", "true"))
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Send(line("one", false)); err != nil {
		t.Errorf("acknowledged: %v", err)
	}
	if err := target.Send(line("two", false)); err == nil {
		t.Error("not acknowledged: no error")
	}
}

func TestPieces(t *testing.T) {
	var p Pieces
	if got := p.Next(true); got != (Piece{}) {
		t.Errorf("a whole line: %+v", got)
	}
	a, b, c := p.Next(false), p.Next(false), p.Next(true)
	if a.ID == "" || a.ID != b.ID || b.ID != c.ID || a.Ordinal != 1 || c.Ordinal != 3 || a.Last || !c.Last {
		t.Errorf("three pieces: %+v %+v %+v", a, b, c)
	}
	if got := p.Next(true); got != (Piece{}) {
		t.Errorf("a whole line after: %+v", got)
	}
	if d := p.Next(false); d.ID == a.ID {
		t.Errorf("another line has the same id %s", d.ID)
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		driver, key, value string
		ok                 bool
	}{
		{"syslog", "syslog-address", "udp://10.0.0.1", true},
		{"syslog", "syslog-address", "tcp+tls://[::1]:6514", true},
		{"syslog", "syslog-address", "unix://dev/log", false},
		{"syslog", "syslog-address", "http://a", false},
		{"syslog", "syslog-facility", "local7", true},
		{"syslog", "syslog-facility", "24", false},
		{"syslog", "syslog-format", "rfc9", false},
		{"gelf", "gelf-address", "udp://a:12201", true},
		{"gelf", "gelf-address", "udp://a", false},
		{"gelf", "gelf-address", "udp://a:0", false},
		{"fluentd", "fluentd-address", "a", true},
		{"fluentd", "fluentd-address", "tls://a:1", true},
		{"fluentd", "fluentd-address", "tcp://a:1/path", false},
		{"fluentd", "fluentd-retry-wait", "3", false},
		{"fluentd", "fluentd-buffer-limit", "8MB", true},
		{"fluentd", "fluentd-async", "perhaps", false},
	} {
		if err := Check(tc.driver, map[string]string{tc.key: tc.value}); (err == nil) != tc.ok {
			t.Errorf("%s=%s: %v", tc.key, tc.value, err)
		}
	}
	for _, o := range []map[string]string{
		nil,
		{"gelf-address": "tcp://a:1", "gelf-compression-type": "gzip"},
		{"gelf-address": "udp://a:1", "gelf-tcp-max-reconnect": "1"},
	} {
		if err := Check("gelf", o); err == nil {
			t.Errorf("gelf with %v: no error", o)
		}
	}
}
