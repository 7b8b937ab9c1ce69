package jsonlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, c Config) *Writer {
	t.Helper()
	w, err := Append(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func write(t *testing.T, w *Writer, line string, at time.Time) {
	t.Helper()
	if err := w.Write(Stdout, []byte(line), at); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string, o ReadOptions) (lines []string) {
	t.Helper()
	err := Read(t.Context(), path, o, func(e Entry) error {
		lines = append(lines, strings.TrimSuffix(string(e.Line), "\n"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func names(t *testing.T, dir string) (ns []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		ns = append(ns, e.Name())
	}
	return ns
}

func TestRotation(t *testing.T) {
	for _, tc := range []struct {
		files int
		want  []string
		kept  []string
	}{
		{1, []string{"c-json.log"}, []string{"6"}},
		{2, []string{"c-json.log", "c-json.log.1"}, []string{"4", "5", "6"}},
		{3, []string{"c-json.log", "c-json.log.1", "c-json.log.2"}, []string{"2", "3", "4", "5", "6"}},
		{9, []string{"c-json.log", "c-json.log.1", "c-json.log.2", "c-json.log.3"}, []string{"0", "1", "2", "3", "4", "5", "6"}},
	} {
		dir := t.TempDir()
		c := Config{Path: filepath.Join(dir, "c-json.log"), MaxSize: 100, MaxFile: tc.files}
		w := open(t, c)
		for i := range 7 { // two entries fill a file
			write(t, w, fmt.Sprintln(i), noon)
		}
		if got := names(t, dir); !slices.Equal(got, tc.want) {
			t.Errorf("%d files: %q, want %q", tc.files, got, tc.want)
		}
		if got := read(t, c.Path, ReadOptions{Tail: -1}); !slices.Equal(got, tc.kept) {
			t.Errorf("%d files: read %q, want %q", tc.files, got, tc.kept)
		}
	}
}

// TestCompressedRotation reads a log whose predecessors are compressed, in whole and
// from its end.
func TestCompressedRotation(t *testing.T) {
	dir := t.TempDir()
	c := Config{Path: filepath.Join(dir, "log"), MaxSize: 100, MaxFile: 4, Compress: true}
	w := open(t, c)
	for i := range 9 { // two entries fill a file
		write(t, w, fmt.Sprintln(i), noon)
	}
	w.packing.Wait()
	if got, want := names(t, dir), []string{"log", "log.1", "log.2.gz", "log.3.gz"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for tail, want := range map[int]string{-1: "2 3 4 5 6 7 8", 2: "7 8", 4: "5 6 7 8", 6: "3 4 5 6 7 8"} {
		if got := strings.Join(read(t, c.Path, ReadOptions{Tail: tail}), " "); got != want {
			t.Errorf("tail %d: %q, want %q", tail, got, want)
		}
	}
	// The last step of compressing was cut short: both are there, and one counts.
	if err := os.WriteFile(c.Path+".2", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, w, "9\n", noon)
	write(t, w, "10\n", noon)
	w.packing.Wait()
	if got, want := names(t, dir), []string{"log", "log.1", "log.2.gz", "log.3.gz"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBigWriteIsDividedAmongFiles(t *testing.T) {
	dir := t.TempDir()
	c := Config{Path: filepath.Join(dir, "log"), MaxSize: 1000, MaxFile: 100}
	w := open(t, c)
	write(t, w, strings.Repeat("line\n", 200), noon)
	for _, n := range names(t, dir) {
		if fi, err := os.Stat(filepath.Join(dir, n)); err != nil || fi.Size() > 1100 {
			t.Errorf("%s has %d bytes, %v", n, fi.Size(), err)
		}
	}
	if got := read(t, c.Path, ReadOptions{Tail: -1}); len(got) != 200 {
		t.Errorf("%d lines, want 200", len(got))
	}
}

func TestLongLineIsPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	line := strings.Repeat("x", 2*MaxLine+10) + "\n"
	write(t, open(t, Config{Path: path}), line, noon)
	var pieces []int
	var whole []byte
	err := Read(t.Context(), path, ReadOptions{Tail: -1}, func(e Entry) error {
		pieces = append(pieces, len(e.Line))
		whole = append(whole, e.Line...)
		return nil
	})
	if want := []int{MaxLine, MaxLine, 11}; err != nil || !slices.Equal(pieces, want) || string(whole) != line {
		t.Errorf("pieces %v, %v, want %v", pieces, err, want)
	}
}

func TestTailSinceUntil(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := open(t, Config{Path: path, MaxSize: 300, MaxFile: 5})
	at := func(i int) time.Time { return noon.Add(time.Duration(i) * time.Second) }
	for i := range 10 {
		write(t, w, fmt.Sprintln(i), at(i))
	}
	for _, tc := range []struct {
		name string
		o    ReadOptions
		want string
	}{
		{"all", ReadOptions{Tail: -1}, "0 1 2 3 4 5 6 7 8 9"},
		{"none", ReadOptions{Tail: 0}, ""},
		{"last", ReadOptions{Tail: 1}, "9"},
		{"over files", ReadOptions{Tail: 7}, "3 4 5 6 7 8 9"},
		{"more than there is", ReadOptions{Tail: 70}, "0 1 2 3 4 5 6 7 8 9"},
		{"since", ReadOptions{Tail: -1, Since: at(8)}, "8 9"},
		{"until", ReadOptions{Tail: -1, Until: at(1)}, "0 1"},
		{"between", ReadOptions{Tail: -1, Since: at(3), Until: at(4)}, "3 4"},
		{"tail is before since", ReadOptions{Tail: 3, Since: at(8)}, "8 9"},
	} {
		if got := strings.Join(read(t, path, tc.o), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := read(t, path+"-missing", ReadOptions{Tail: -1}); len(got) != 0 {
		t.Errorf("missing log: %q", got)
	}
}

func TestDamagedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	good := string(AppendEntry(nil, Stdout, []byte("good\n"), nil, noon))
	foreign := `{"stream":"stdout","log":"foreign \ud83d\udea2","attrs":{"k":"v"},"time":"2026-01-02T11:00:00Z"}` + "\n"
	if err := os.WriteFile(path, []byte(good+"garbage\n"+strings.Repeat("z", 3<<20)+"\n\n"+foreign+good+good[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"good", "foreign 🚢", "good"}
	if got := read(t, path, ReadOptions{Tail: -1}); !slices.Equal(got, want) {
		t.Errorf("read %.100q, want %q", got, want)
	}
	w := open(t, Config{Path: path})
	write(t, w, "after\n", noon)
	if got := read(t, path, ReadOptions{Tail: 2}); !slices.Equal(got, []string{"good", "after"}) {
		t.Errorf("after repair: %q", got)
	}
}

func TestAttributes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, open(t, Config{Path: path, Attrs: map[string]string{"b": "2", "a": "1"}}), "x\n", noon)
	b, err := os.ReadFile(path)
	if want := `{"log":"x\n","stream":"stdout","attrs":{"a":"1","b":"2"},"time":"2026-01-02T11:00:00.000000005Z"}` + "\n"; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	err = Read(t.Context(), path, ReadOptions{Tail: -1}, func(e Entry) error {
		if e.Attrs["a"] != "1" || e.Attrs["b"] != "2" {
			t.Errorf("read %v", e.Attrs)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFollow has a follower read every line while the log is rotated under it.
func TestFollow(t *testing.T) {
	for _, files := range []int{3, 1000} {
		path := filepath.Join(t.TempDir(), "log")
		w := open(t, Config{Path: path, MaxSize: 2000, MaxFile: files})
		done := make(chan struct{})
		lines := make(chan string)
		result := make(chan error)
		go func() {
			result <- Read(t.Context(), path, ReadOptions{Tail: -1, Follow: true, Done: done}, func(e Entry) error {
				lines <- strings.TrimSpace(string(e.Line))
				return nil
			})
		}()
		n, atOnce := 500, 500
		if files == 3 { // few files: the follower must keep up
			atOnce = 25
		}
		for i := 0; i < n; i += atOnce {
			for j := range atOnce {
				write(t, w, fmt.Sprintln(i+j), noon)
			}
			for j := range atOnce {
				if got := <-lines; got != fmt.Sprint(i+j) {
					t.Fatalf("line %d: %q", i+j, got)
				}
			}
		}
		write(t, w, "last\n", noon)
		close(done)
		if got := <-lines; got != "last" {
			t.Errorf("after the end was told: %q", got)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

// TestFollowGathers has a follower woken for every line, as by inotify: it passes on the
// first one after a quiet time at once, and then what has come every 20 ms.
func TestFollowGathers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, Config{Path: path})
		done, woken := make(chan struct{}), make(chan struct{}, 1)
		start := time.Now()
		var pieces, piece []string
		r, err := Open(path, ReadOptions{Tail: -1, Done: done, Paused: func() error {
			pieces = append(pieces, fmt.Sprintf("%v: %s", time.Since(start), strings.Join(piece, " ")))
			piece = nil
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		r.f = func(e Entry) error {
			piece = append(piece, strings.TrimSpace(string(e.Line)))
			return nil
		}
		ended := make(chan error)
		go func() {
			defer r.Close()
			if err := r.read(t.Context()); err != nil {
				ended <- err
				return
			}
			ended <- r.wait(t.Context(), func() {}, woken)
		}()
		say := func(line string) {
			write(t, w, line+"\n", noon)
			select {
			case woken <- struct{}{}:
			default: // it has not seen the last one yet
			}
			synctest.Wait()
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		for i := range 20 {
			say(fmt.Sprint(i))
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		say("late")
		say("later")
		time.Sleep(5 * time.Millisecond)
		write(t, w, "last\n", noon)
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := []string{
			"100ms: 0", "120ms: 1 2 3 4 5 6", "140ms: 7 8 9 10 11 12 13", "160ms: 14 15 16 17 18 19", "260ms: late",
		}
		if !slices.Equal(pieces, want) {
			t.Errorf("pieces:\n%s\nwant:\n%s", strings.Join(pieces, "\n"), strings.Join(want, "\n"))
		}
		if left := strings.Join(piece, " "); left != "later last" || time.Since(start) != 265*time.Millisecond {
			t.Errorf("with the end, after %v: %q", time.Since(start), left)
		}
	})
}

// TestFollowFlood has a follower that does not rest while much comes.
func TestFollowFlood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		w := open(t, Config{Path: path, MaxSize: 128 << 10, MaxFile: 2})
		done, woken := make(chan struct{}), make(chan struct{}, 1)
		r, err := Open(path, ReadOptions{Tail: -1, Done: done})
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		r.f = func(Entry) error { lines++; return nil }
		ended := make(chan error)
		go func() {
			defer r.Close()
			ended <- r.wait(t.Context(), func() {}, woken)
		}()
		synctest.Wait()
		line, start := strings.Repeat("x", 200)+"\n", time.Now()
		for range 50 {
			for range 500 { // half of what the log holds
				write(t, w, line, noon)
			}
			woken <- struct{}{}
			synctest.Wait()
		}
		close(done)
		if err := <-ended; err != nil || lines != 50*500 || time.Since(start) != 0 {
			t.Errorf("%d lines of %d after %v: %v", lines, 50*500, time.Since(start), err)
		}
	})
}

func TestFollowEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, open(t, Config{Path: path}), "x\n", noon)
	never := func(Entry) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(ctx, path, ReadOptions{Follow: true, Tail: -1}, never); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := Read(t.Context(), path, ReadOptions{Follow: true, Tail: -1, Until: time.Now().Add(time.Millisecond)}, never); err != nil {
		t.Errorf("until: %v", err)
	}
	stop := errors.New("stop")
	if err := Read(t.Context(), path, ReadOptions{Follow: true, Tail: -1}, func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("callback: %v", err)
	}
}

// FuzzRead shows that no content of a log file makes reading it fail, and that
// reading the tail gives the end of what reading all gives.
func FuzzRead(f *testing.F) {
	good := AppendEntry(nil, Stdout, []byte("good\n"), nil, noon)
	f.Add(bytes.Repeat(good, 3), 2)
	f.Add(append(good[:len(good):len(good)], "\n\ncut"...), 1)
	f.Fuzz(func(t *testing.T, content []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		all, some := read(t, path, ReadOptions{Tail: -1}), read(t, path, ReadOptions{Tail: max(tail, 0)})
		if len(some) > len(all) || !slices.Equal(some, all[len(all)-len(some):]) {
			t.Errorf("tail %q of %q", some, all)
		}
	})
}
