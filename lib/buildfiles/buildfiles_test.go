package buildfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
)

// memory is a folder of texts.
type memory []struct{ name, text string }

func (m memory) List(tell func(Entry) error) error {
	for _, f := range m {
		e := Entry{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Time: 5}
		if strings.HasSuffix(f.name, "/") {
			e = Entry{Name: strings.TrimSuffix(f.name, "/"), Mode: uint32(fs.ModeDir | 0o755)}
		}
		if err := tell(e); err != nil {
			return err
		}
	}
	return nil
}

func (m memory) Open(name string) (io.ReadCloser, error) {
	for _, f := range m {
		if f.name == name {
			return io.NopCloser(strings.NewReader(f.text)), nil
		}
	}
	return nil, fs.ErrPermission
}

// pair joins the two ends; ended waits for how sending ends.
func pair(t *testing.T, folders ...Named) (f *Files, s *Sender, ended func() error) {
	t.Helper()
	r, w := io.Pipe()
	s = NewSender()
	sent := make(chan error, 1)
	go func() {
		err := s.Send(w, folders)
		w.CloseWithError(err)
		sent <- err
	}()
	f, err := Receive(r, func(w []Want) error { s.Want(w); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return f, s, func() error { return <-sent }
}

// TestFetch: files are fetched when they are opened, several at once, and whole.
func TestFetch(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 100_000)
	f, s, ended := pair(t, Named{"context", "me:/x", memory{{"a", "text"}, {"d/", ""}, {"d/big", big}, {"d/empty", ""}, {"e", "last"}}}, Named{"dockerfile", "", memory{{"Dockerfile", "FROM"}}})
	if l := f.Folders["context"]; l.Key != "me:/x" || len(l.Entries) != 5 || l.Entries[0].Size != 4 || len(l.Below("d")) != 3 || len(l.Below("")) != 5 || l.Below("none") != nil {
		t.Errorf("%+v", l)
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for _, c := range []struct{ folder, name, want string }{{"context", "a", "text"}, {"context", "d/big", big}, {"context", "d/empty", ""}, {"dockerfile", "Dockerfile", "FROM"}} {
				r, err := f.Open(c.folder, c.name)
				if err != nil {
					t.Error(err)
					return
				}
				if i%4 == 3 { // looked at and given up
					r.Close()
					continue
				}
				if b, err := io.ReadAll(r); err != nil || string(b) != c.want {
					t.Errorf("%s: %d bytes, %v", c.name, len(b), err)
				}
			}
		})
	}
	all.Wait()
	for _, name := range []string{"none", "d"} {
		if _, err := f.Open("context", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.End()
	if err := ended(); err != nil {
		t.Error(err)
	}
}

// TestNothingElse: an engine gets nothing that was not told of.
func TestNothingElse(t *testing.T) {
	for _, w := range []Want{{1, "context", "../secret", false}, {1, "context", "b", true}, {1, "other", "a", false}} {
		_, s, ended := pair(t, Named{"context", "", memory{{"a", "text"}}})
		s.Want([]Want{w})
		if err := ended(); err == nil || !strings.Contains(err.Error(), "which is no file of the build") {
			t.Errorf("%v: %v", w, err)
		}
	}
}

// TestUnreadable: a file that cannot be opened ends it all: half a build is none.
func TestUnreadable(t *testing.T) {
	f, _, ended := pair(t, Named{"context", "", unreadable{memory{{"a", "text"}}}})
	r, err := f.Open("context", "a")
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil {
		t.Error("it is read")
	}
	if err := ended(); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

type unreadable struct{ memory }

func (unreadable) Open(string) (io.ReadCloser, error) { return nil, fs.ErrPermission }

// TestAhead: files that are opened in a row are fetched before they are; those that are
// skipped cost nothing but that, and one among them that cannot be read matters only to who
// opens it.
func TestAhead(t *testing.T) {
	var m memory
	for i := range 1000 {
		m = append(m, struct{ name, text string }{fmt.Sprintf("f%03d", i), strings.Repeat("x", i)})
	}
	const bad = 500
	ahead, asked := 0, 0
	r, w := io.Pipe()
	s := NewSender()
	sent := make(chan error, 1)
	go func() {
		err := s.Send(w, []Named{{"context", "", without{m, m[bad].name}}})
		w.CloseWithError(err)
		sent <- err
	}()
	f, err := Receive(r, func(list []Want) error {
		for _, w := range list {
			if w.Ahead {
				ahead++
			} else {
				asked++
			}
		}
		s.Want(list)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(i int) error {
		in, err := f.Open("context", m[i].name)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(in)
		if err == nil && string(b) != m[i].text {
			t.Errorf("%s: %d bytes", m[i].name, len(b))
		}
		return err
	}
	for i := range m {
		if i == bad || i%7 == 3 {
			continue
		}
		if err := get(i ^ 1); (i^1) != bad && err != nil { // out of order a little
			t.Fatal(i, err)
		} else if i^1 == bad {
			break
		}
	}
	if ahead < 300 || asked > 300 {
		t.Errorf("%d fetched ahead, %d asked for", ahead, asked)
	}
	if err := <-sent; !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the unreadable file was opened: %v", err)
	}
}

// without is a folder of which one file cannot be opened.
type without struct {
	memory
	name string
}

func (w without) Open(name string) (io.ReadCloser, error) {
	if name == w.name {
		return nil, fs.ErrPermission
	}
	return w.memory.Open(name)
}

// TestLists: what is no list of files is refused.
func TestLists(t *testing.T) {
	say := func(kind byte, text string) []byte {
		return append([]byte{kind, 0, 0, byte(len(text) >> 8), byte(len(text))}, text...)
	}
	folder, listed := say('F', `{"Name":"context"}`), say('.', "")
	entry := func(name string, mode uint32) []byte {
		return say('E', fmt.Sprintf(`{"Name":%q,"Mode":%d}`, name, mode))
	}
	dir := uint32(fs.ModeDir)
	for title, frames := range map[string][][]byte{
		"nothing":               {},
		"no end":                {folder, entry("a", 0)},
		"a file of no folder":   {entry("a", 0), listed},
		"outside":               {folder, entry("../a", 0), listed},
		"absolute":              {folder, entry("/a", 0), listed},
		"not clean":             {folder, entry("a/../b", 0), listed},
		"the folder":            {folder, entry(".", 0), listed},
		"twice":                 {folder, entry("a", 0), entry("a", 0), listed},
		"no directory":          {folder, entry("a/b", 0), listed},
		"a file as a directory": {folder, entry("a", 0), entry("a/b", 0), listed},
		"two folders":           {folder, folder, listed},
		"no JSON":               {folder, say('E', "{"), listed},
		"unknown":               {folder, say('?', ""), listed},
		"too long":              {{'F', 255, 255, 255, 255}},
		"data":                  {folder, say('D', "0000"), listed},
		"name after dir":        {folder, entry("a", dir), entry("a/b/c", 0), listed},
	} {
		if _, err := Receive(bytes.NewReader(bytes.Join(frames, nil)), nil); err == nil {
			t.Errorf("%s is taken", title)
		}
	}
}

func FuzzReceive(f *testing.F) {
	var b bytes.Buffer
	s := NewSender()
	s.End()
	s.Send(&b, []Named{{"context", "k", memory{{"a", "x"}, {"d/", ""}, {"d/b", "y"}}}})
	f.Add(append(b.Bytes(), 'D', 0, 0, 0, 5, 0, 0, 0, 1, 'x'))
	f.Fuzz(func(t *testing.T, in []byte) {
		fl, err := Receive(bytes.NewReader(in), func([]Want) error { return nil })
		if err != nil {
			return
		}
		for name, l := range fl.Folders {
			for _, e := range l.Entries {
				if r, err := fl.Open(name, e.Name); err == nil {
					r.Close()
				}
			}
		}
	})
}
