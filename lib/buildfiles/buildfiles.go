// Package buildfiles carries the files of a build from hoy's command line to the engine,
// which asks for those only that it lacks:
//
//	command line                                engine
//	every file of every folder   --body-->      what is here already, as it was?
//	                             <--events--    Wants 1, 2, …
//	1: bytes; 2: bytes; …        --body-->
//
// The body is a sequence of frames: a letter, the length of the rest (4 bytes, big endian),
// the rest.
//
//	F  JSON {"Name":…,"Key":…}: a folder begins
//	E  JSON Entry: a file of that folder; directories come before what is in them, names in order
//	.  all files have been told of
//	D  number of a Want (4 bytes, big endian) and bytes of that file; without bytes: its end
//	X  number of a Want that is ahead, whose file cannot be opened
package buildfiles

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Entry is a file.
type Entry struct {
	Name  string            // with slashes, from the folder
	Mode  uint32            // fs.FileMode
	Size  int64             `json:",omitempty"` // bytes
	Time  int64             `json:",omitempty"` // nanoseconds since 1970: of the last change
	Link  string            `json:",omitempty"` // where a symbolic link leads; of another file the name that it had before
	Attrs map[string][]byte `json:",omitempty"` // extended attributes
	Major int64             `json:",omitempty"` // of a device
	Minor int64             `json:",omitempty"`
}

// Want is what the engine asks for.
type Want struct {
	Number uint32
	Folder string
	Name   string
	Ahead  bool `json:",omitempty"` // it may never be needed: that it cannot be opened is no failure yet
}

// Folder is what the command line has. List tells of its files, Open opens one of those.
type Folder interface {
	List(tell func(Entry) error) error
	Open(name string) (io.ReadCloser, error)
}

// head begins a folder.
type head struct{ Name, Key string }

// The kinds of frames.
const (
	kindFolder = 'F'
	kindEntry  = 'E'
	kindListed = '.'
	kindData   = 'D'
	kindNone   = 'X'
)

// frameHead is the length of what every frame begins with.
const frameHead = 5

// maxFrame is the most that one frame has.
const maxFrame = 1 << 20

func readFrame(r io.Reader, buf []byte) (kind byte, rest, grown []byte, err error) {
	var h [frameHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, buf, err
	}
	n := int(binary.BigEndian.Uint32(h[1:]))
	if n > maxFrame {
		return 0, nil, buf, fmt.Errorf("a frame of %d bytes is too long", n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	_, err = io.ReadFull(r, buf[:n])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return h[0], buf[:n], buf, err
}
