package keeper

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

func message(t testing.TB, typ uint16, seq uint64, body any) []byte {
	t.Helper()
	b, err := encode(typ, seq, statusOK, body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sockets are the two ends of a connection.
func sockets(t *testing.T) (mine, theirs *socket) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, err1 := newSocket(fds[0])
	theirs, err2 := newSocket(fds[1])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return mine, theirs
}

// TestClosedSocket: whoever asks a keeper that dies at this moment is to ask the next one,
// whether the connection had been closed before or while it was used.
func TestClosedSocket(t *testing.T) {
	mine, theirs := sockets(t)
	defer theirs.Close()
	waiting := make(chan error)
	go func() {
		_, _, err := mine.receive()
		waiting <- err
	}()
	mine.Close()
	if err := <-waiting; !errors.Is(err, os.ErrClosed) {
		t.Errorf("receive: %v", err)
	}
	l := newLink(mine)
	if err := l.do(t.Context(), typeList, nil, nil, nil); err != errLinkDead {
		t.Errorf("a request: %v", err)
	}
}

func TestHeader(t *testing.T) {
	b := message(t, typeAck, 7, idBody{"c", 3})
	want := "HOYK\x03\x00\x08\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1b\x00\x00\x00" + `{"id":"c","generation":3}`
	if b[20] = 0x1b; string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

func TestParseRefuses(t *testing.T) {
	good := message(t, typeAck, 7, idBody{"c", 3})
	other := bytes.Clone(good)
	binary.LittleEndian.PutUint16(other[4:], 9)
	for _, tc := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "not a message"},
		{"short", good[:23], "not a message"},
		{"other magic", append([]byte("HTTP"), good[4:]...), "not a message"},
		{"cut", good[:len(good)-1], "bytes of body announced"},
		{"too much", append(bytes.Clone(good), 0), "bytes of body announced"},
		{"other version", other, "speaks version 9 of the keeper's protocol, this one version 3"},
		{"other version, short", other[:8], "speaks version 9"},
	} {
		if _, _, err := parse(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestFailureKeepsKindAndStep(t *testing.T) {
	status, b := failure(fault.New(fault.NotFound, "no %s", "c"))
	body, _ := json.Marshal(b)
	if err := replyError(reply{header: header{status: status}, body: body}); !fault.Is(err, fault.NotFound) || err.Error() != "no c" {
		t.Errorf("%v", err)
	}
	status, b = failure(&spawn.StepError{Index: 3, Errno: unix.EPERM})
	body, _ = json.Marshal(b)
	var step *spawn.StepError
	if err := replyError(reply{header: header{status: status}, body: body}); !errors.As(err, &step) || step.Index != 3 || step.Errno != unix.EPERM {
		t.Errorf("%v", err)
	}
}

func TestTooLongABodyIsRefused(t *testing.T) {
	_, err := encode(typeAck, 1, statusOK, idBody{ID: strings.Repeat("x", maxBody)})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestDetacher(t *testing.T) {
	for _, tc := range []struct {
		keys     string
		in       []string
		out      string
		detached bool
	}{
		{"", []string{"hello"}, "hello", false},
		{"", []string{"a\x10\x11b"}, "a", true},
		{"", []string{"a\x10", "\x11"}, "a", true},
		{"", []string{"\x10", "x"}, "\x10x", false},
		{"", []string{"\x10\x10\x11"}, "\x10", true},
		{"aab", []string{"a", "a", "a", "b"}, "a", true},
		{"abac", []string{"ababac"}, "ab", true},
		{"q", []string{"xyq"}, "xy", true},
	} {
		d := newDetacher([]byte(tc.keys))
		var out []byte
		detached := false
		for _, in := range tc.in {
			o, done := d.filter([]byte(in))
			out, detached = append(out, o...), detached || done
		}
		if string(out) != tc.out || detached != tc.detached {
			t.Errorf("keys %q, input %q: %q %v, want %q %v", tc.keys, tc.in, out, detached, tc.out, tc.detached)
		}
	}
}

func TestCheckID(t *testing.T) {
	for id, ok := range map[string]bool{
		"c": true, "0123abc": true, "a.b-c_d": true, "": false, ".": false, "..": false, ".x": false,
		"a/b": false, "a\x00": false, "ä": false, strings.Repeat("x", 129): false,
	} {
		if err := checkID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestStateFile(t *testing.T) {
	root := t.TempDir()
	if err := makeDirs(root); err != nil {
		t.Fatal(err)
	}
	st := &state{StartedAt: 5, config: config{ID: "c", Generation: 2, Log: &LogConfig{Path: "/l"}}}
	f, err := createState(root, st)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		got, err := loadStates(root)
		if err != nil || len(got) != 1 || got[0].Pid != st.Pid || got[0].Inode != st.Inode || got[0].Generation != 2 || got[0].Log.Path != "/l" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	check("before the clone")
	st.Pid, st.Inode, st.StartTime = 1<<22, 1<<64-1, 1<<63
	if err := st.setPid(f); err != nil {
		t.Fatal(err)
	}
	check("after")
	for name, content := range map[string]string{"cut.json": `{"pid":   `, "other.json": `{"id":"c"}`, ".c.json.tmp1": "{}"} {
		if err := os.WriteFile(filepath.Join(root, "keeper", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("with garbage beside it")
	if es, _ := os.ReadDir(filepath.Join(root, "keeper")); len(es) != 1 {
		t.Errorf("garbage stays: %v", es)
	}
}

// FuzzHandle gives a server, which holds nothing, arbitrary datagrams with a
// descriptor or none.
func FuzzHandle(f *testing.F) {
	f.Add(message(f, typeHello, 1, empty{}), 0)
	f.Add(message(f, typeSpawn, 2, spawnBody{ID: "c", Generation: 1}), 1)
	f.Add(message(f, typeSpawn, 2, spawnBody{ID: "c", Terminal: true, Attach: []attachBody{{}}}), 3)
	f.Add(message(f, typeAttach, 3, attachBody{ID: "c"}), 1)
	f.Add(message(f, typeAdopt, 4, adoptBody{ID: "c", HasPidfd: true}), 1)
	f.Add(message(f, typeAdopt, 4, adoptBody{Done: true}), 1)
	f.Add(message(f, typeList, 5, empty{}), 0)
	f.Add(message(f, typeAck, 6, idBody{ID: "c"}), 0)
	f.Add(message(f, typeHold, 7, holdBody{ID: "c", Generation: 1}), 0)
	f.Add(message(f, typeHold, 7, holdBody{ID: "c", Resolver: &resolverBody{HasSockets: true, HasNetNS: true}}), 3)
	f.Add(message(f, typeHold, 7, holdBody{ID: "c", Ports: []portBody{{Proto: "udp", HasSocket: true}}, More: true}), 1)
	f.Add(message(f, typeHold, 7, holdBody{ID: "c", Part: 1}), 1)
	f.Add(message(f, typeRelease, 8, idBody{ID: "c"}), 0)
	f.Add(message(f, typeHolds, 9, empty{}), 0)
	f.Add(message(f, typeNames, 10, namesBody{Network: "n", Set: []NameEntry{{Container: "c", Names: []string{"web"}}}, Remove: []string{"d"}}), 0)
	f.Add(message(f, typeNames, 10, namesBody{Network: "n", Part: 1}), 0)
	f.Add(message(f, 99, 6, empty{}), 0)
	root := f.TempDir()
	if err := makeDirs(root); err != nil {
		f.Fatal(err)
	}
	s := newServer(root, spawn.NewHelper("/bin/false"))
	f.Fuzz(func(t *testing.T, msg []byte, files int) {
		h, body, err := parse(msg)
		if err != nil {
			return
		}
		mine, theirs := sockets(t)
		defer mine.Close()
		defer theirs.Close()
		var given []int
		for range min(max(files, 0), 4) {
			fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			given = append(given, fd)
		}
		c := &conn{socket: theirs, s: s}
		defer c.parts.drop()
		c.handle(h, body, given)
		msg, got, err := mine.receive() // every request is answered
		closeAll(got)
		if err != nil {
			t.Fatal(err)
		}
		if r, _, err := parse(msg); err != nil || r.seq != h.seq || r.typ != h.typ|isReply {
			t.Errorf("answer %+v to %+v, %v", r, h, err)
		}
	})
}
