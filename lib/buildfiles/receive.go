package buildfiles

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// Files is the engine's end: the folders of a build, whose files are fetched when they are
// opened.
type Files struct {
	Folders map[string]*Listing

	want func([]Want) error

	mu   sync.Mutex
	last uint32
	open map[uint32]*incoming
	err  error // why nothing comes any more
}

// Listing is a folder as the client has told of it.
type Listing struct {
	Key     string // which folder of which machine it is
	Entries []Entry
	Index   map[string]int // of Entries, by name

	run run // guarded by Files.mu
}

// maxEntries bounds what a client can have the engine hold.
const maxEntries = 5_000_000

// Receive reads the listing of a body, and goes on reading what files are wanted for, in
// the background until r ends. want sends an event.
func Receive(r io.Reader, want func([]Want) error) (*Files, error) {
	f := &Files{Folders: map[string]*Listing{}, want: want, open: map[uint32]*incoming{}}
	in := bufio.NewReaderSize(r, 256<<10)
	if err := f.listing(in); err != nil {
		return nil, fmt.Errorf("cannot read the list of the build's files: %w", err)
	}
	go f.receive(in)
	return f, nil
}

func (f *Files) listing(r io.Reader) error {
	var buf, rest []byte
	var l *Listing
	var kind byte
	var err error
	for n := 0; ; {
		if kind, rest, buf, err = readFrame(r, buf); err != nil {
			return err
		}
		switch {
		case kind == kindListed:
			return nil
		case kind == kindFolder:
			var h head
			if err := json.Unmarshal(rest, &h); err != nil {
				return err
			}
			if f.Folders[h.Name] != nil {
				return fmt.Errorf("two folders are named %s", h.Name)
			}
			l = &Listing{Key: h.Key, Index: map[string]int{}, run: run{last: -1, waiting: map[int]*incoming{}}}
			f.Folders[h.Name] = l
		case kind == kindEntry && l != nil && n < maxEntries:
			n++
			if err := l.add(rest); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a frame of kind %q has no place there", kind)
		}
	}
}

func (l *Listing) add(text []byte) error {
	var e Entry
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if !filepath.IsLocal(e.Name) || path.Clean(e.Name) != e.Name || e.Name == "." {
		return fmt.Errorf("%q is no name of a file below a folder", e.Name)
	}
	if _, ok := l.Index[e.Name]; ok {
		return fmt.Errorf("%q is there twice", e.Name)
	}
	if dir := path.Dir(e.Name); dir != "." {
		i, ok := l.Index[dir]
		if !ok || !fs.FileMode(l.Entries[i].Mode).IsDir() {
			return fmt.Errorf("%q comes before its directory", e.Name)
		}
	}
	l.Index[e.Name] = len(l.Entries)
	l.Entries = append(l.Entries, e)
	return nil
}

// Below returns the entries of a directory and all below, from its own on; "" is the
// folder itself, which has no entry. It is nil if there is none of the name.
func (l *Listing) Below(name string) []Entry {
	if name == "" {
		return l.Entries
	}
	i, ok := l.Index[name]
	if !ok {
		return nil
	}
	n := i + 1
	for n < len(l.Entries) && strings.HasPrefix(l.Entries[n].Name, name+"/") {
		n++
	}
	return l.Entries[i:n]
}

// Open fetches a file. What is not read to its end has to be closed.
func (f *Files) Open(folder, name string) (io.ReadCloser, error) {
	l := f.Folders[folder]
	if l == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	i, ok := l.Index[name]
	if !ok || !fs.FileMode(l.Entries[i].Mode).IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	in, wants, err := f.ask(l, folder, i)
	if err != nil {
		return nil, err
	}
	if len(wants) > 0 {
		if err := f.want(wants); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// ask returns the file at a place of a listing, and what the client is to be asked for:
// that, if it has not been, and those that will be opened next.
func (f *Files) ask(l *Listing, folder string, i int) (in *incoming, wants []Want, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, nil, f.err
	}
	in = l.run.opened(i, l.Entries[i].Size)
	if in == nil || !in.open() {
		in = newIncoming(folder, l.Entries[i].Name, true)
		wants = append(wants, f.number(in, false))
	}
	for _, n := range l.run.next(l) {
		next := newIncoming(folder, l.Entries[n].Name, false)
		l.run.waiting[n] = next
		wants = append(wants, f.number(next, true))
	}
	return in, wants, nil
}

// number is what the client is asked for a file by.
func (f *Files) number(in *incoming, ahead bool) Want {
	f.last++
	f.open[f.last] = in
	return Want{Number: f.last, Folder: in.folder, Name: in.name, Ahead: ahead}
}

func (f *Files) take(number uint32) *incoming {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.open[number]
	delete(f.open, number)
	return in
}

// receive hands what comes to who waits for it.
func (f *Files) receive(r io.Reader) {
	err := f.data(r)
	if errors.Is(err, io.EOF) {
		err = errors.New("the client sends no more files")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	for _, in := range f.open {
		in.end(err)
	}
	f.open = nil
}

func (f *Files) data(r io.Reader) error {
	var buf []byte
	for {
		kind, rest, grown, err := readFrame(r, buf)
		if buf = grown; err != nil {
			return err
		}
		if len(rest) < 4 || kind != kindData && kind != kindNone {
			return fmt.Errorf("a frame of kind %q has no place among data", kind)
		}
		number := binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		switch {
		case kind == kindNone:
			if in := f.take(number); in != nil && in.none() {
				err = f.askAgain(in)
			}
		case len(rest) == 0:
			if in := f.take(number); in != nil {
				in.end(io.EOF)
			}
		default:
			f.mu.Lock()
			in := f.open[number]
			f.mu.Unlock()
			if in != nil {
				in.write(rest)
			}
		}
		if err != nil {
			return err
		}
	}
}

// askAgain asks for a file that was not there ahead: now that it is needed it is a failure
// of the client's.
func (f *Files) askAgain(in *incoming) error {
	f.mu.Lock()
	w := f.number(in, false)
	f.mu.Unlock()
	return f.want([]Want{w})
}
