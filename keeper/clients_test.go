package keeper_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hoy/keeper"
	"hoy/test/eventually"
)

// killingUntilExit kills the keeper again and again until the process has ended.
func (b *bed) killingUntilExit() keeper.Exit {
	b.t.Helper()
	for kills := 0; ; kills++ {
		select {
		case e := <-b.c.Exits():
			if err := b.c.Ack(b.ctx(), e.ID, e.Generation); err != nil {
				b.t.Error(err)
			}
			b.t.Logf("killed %d times", kills)
			return e
		case <-time.After(time.Duration(3+kills%17) * time.Millisecond):
			b.killKeeper()
		}
	}
}

// demux reads frames to the end and returns what each stream had.
func demux(t *testing.T, r io.Reader) (out [3]string) {
	t.Helper()
	for br := bufio.NewReader(r); ; {
		var h [8]byte
		if _, err := io.ReadFull(br, h[:]); err == io.EOF {
			return out
		} else if err != nil {
			t.Errorf("frame cut: %v", err)
			return out
		}
		n := binary.BigEndian.Uint32(h[4:])
		if h[0] < 1 || h[0] > 2 || h[1]|h[2]|h[3] != 0 || n > 1<<20 {
			t.Errorf("corrupt frame %x", h)
			return out
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(br, b); err != nil {
			t.Errorf("frame cut: %v", err)
			return out
		}
		out[h[0]] += string(b)
	}
}

// TestClientsSurviveTheKeeper kills the keeper under attached clients: nobody of them
// notices, no line is missing or there twice, no frame is broken. With a log and
// without, slow clients and quick ones.
func TestClientsSurviveTheKeeper(t *testing.T) {
	const lines = 60000
	both := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; echo $i >&2; [ $((i%%400)) = 0 ] && usleep 1000; done; exit 7", lines)
	for _, logged := range []bool{true, false} {
		t.Run(fmt.Sprintf("log %v", logged), func(t *testing.T) {
			b := newBed(t)
			mux, theirMux := pair(t)
			raw, theirRaw := pair(t)
			unix.SetsockoptInt(int(theirMux.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 8192) // frames are cut often
			var log *keeper.LogConfig
			if logged {
				log = b.logConfig("c")
			}
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, both), Log: log, Attach: []keeper.Attachment{
				{Conn: theirMux, Stdout: true, Stderr: true, Mux: true}, {Conn: theirRaw, Stdout: true}}})
			got, plain := make(chan [3]string, 1), make(chan string, 1)
			go func() { got <- demux(t, mux) }()
			go func() { s, _ := io.ReadAll(raw); plain <- string(s) }()
			if e := b.killingUntilExit(); e.Code != 7 {
				t.Errorf("%+v", e)
			}
			streams := <-got
			checkNumbered(t, streams[1], lines)
			checkNumbered(t, streams[2], lines)
			checkNumbered(t, <-plain, lines)
			if logged {
				checkNumbered(t, b.logged("c", "stdout"), lines)
			}
			if l := b.keeperLog(); l != "" {
				t.Errorf("the keeper complains: %s", l)
			}
		})
	}
}

// TestManyClientsSurviveTheKeeper is the same for so many that output gathers for them.
func TestManyClientsSurviveTheKeeper(t *testing.T) {
	const lines = 5000
	b := newBed(t)
	const clients = 12
	var attach []keeper.Attachment
	got := make(chan [3]string, clients)
	for range clients {
		mine, theirs := pair(t)
		attach = append(attach, keeper.Attachment{Conn: theirs, Stdout: true, Stderr: true, Mux: true})
		go func() { got <- demux(t, mine) }()
	}
	b.spawn(keeper.SpawnRequest{ID: "c", Log: b.logConfig("c"), Attach: attach,
		Plan: shell(t, fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; echo $i >&2; [ $((i%%10)) = 0 ] && usleep 1000; done; exit 7", lines))})
	if e := b.killingUntilExit(); e.Code != 7 {
		t.Errorf("%+v", e)
	}
	for range clients {
		streams := <-got
		checkNumbered(t, streams[1], lines)
		checkNumbered(t, streams[2], lines)
	}
	checkNumbered(t, b.logged("c", "stdout"), lines)
	if l := b.keeperLog(); l != "" {
		t.Errorf("the keeper complains: %s", l)
	}
}

// TestTerminalClientSurvivesTheKeeper is the same for a terminal.
func TestTerminalClientSurvivesTheKeeper(t *testing.T) {
	const lines = 8000
	for _, logged := range []bool{true, false} {
		t.Run(fmt.Sprintf("log %v", logged), func(t *testing.T) {
			b := newBed(t)
			plan, master := terminal(t, "stty -echo; read x; "+fmt.Sprintf(counting, lines, 50))
			mine, theirs := pair(t)
			var log *keeper.LogConfig
			if logged {
				log = b.logConfig("c")
			}
			b.spawn(keeper.SpawnRequest{ID: "c", Plan: plan, Console: master, OpenStdin: true, Log: log,
				Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
			master.Close()
			time.Sleep(20 * time.Millisecond)
			b.killKeeper()
			send(t, mine, "go\n")
			out := make(chan string, 1)
			go func() { s, _ := io.ReadAll(mine); out <- string(s) }()
			if e := b.killingUntilExit(); e.Code != 7 {
				t.Errorf("%+v", e)
			}
			checkNumbered(t, strings.TrimPrefix(<-out, "go\r\n"), lines)
		})
	}
}

// TestInputSurvivesTheKeeper sends a stream of input through keepers that are killed.
func TestInputSurvivesTheKeeper(t *testing.T) {
	b := newBed(t)
	const lines = 200000
	mine, theirs := pair(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; exit 7"), OpenStdin: true, StdinOnce: true,
		Attach: []keeper.Attachment{{Conn: theirs, Stdin: true, Stdout: true}}})
	out := make(chan string, 1)
	go func() { s, _ := io.ReadAll(mine); out <- string(s) }()
	go func() {
		w := bufio.NewWriter(mine)
		for i := range lines {
			fmt.Fprintln(w, i+1)
			if i%1000 == 0 {
				w.Flush()
				time.Sleep(time.Millisecond)
			}
		}
		w.Flush()
		closeWrite(mine)
	}()
	if e := b.killingUntilExit(); e.Code != 7 {
		t.Errorf("%+v", e)
	}
	checkNumbered(t, <-out, lines)
}

// TestClientThatGoesIsLetGo has the engine keep nothing of clients that have left, and
// the keeper nothing that a client would notice.
func TestClientThatGoesIsLetGo(t *testing.T) {
	b := newBed(t)
	b.spawn(keeper.SpawnRequest{ID: "c", Plan: shell(t, "cat; exit 5"), OpenStdin: true, Log: b.logConfig("c")})
	before := descriptors(t)
	for range 5 {
		mine, theirs := pair(t)
		if err := b.c.Attach(b.ctx(), "c", keeper.Attachment{Conn: theirs, Stdin: true, Stdout: true}); err != nil {
			t.Fatal(err)
		}
		send(t, mine, "x\n")
		expect(t, mine, "x\n")
		b.killKeeper()
		send(t, mine, "y\n")
		expect(t, mine, "y\n")
		closeWrite(mine)
		readAll(t, mine) // to the end, which shutdown(2) makes
		mine.Close()
	}
	eventually.True(t, "as many descriptors as before", func() bool { return descriptors(t) <= before })
	if err := b.c.CloseStdin(b.ctx(), "c"); err != nil {
		t.Fatal(err)
	}
	b.exit()
}

func descriptors(t *testing.T) int {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(es)
}
