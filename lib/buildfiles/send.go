package buildfiles

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Sender is the command line's end.
//
//	s := buildfiles.NewSender()
//	go func() { err = s.Send(body, folders) }() // until End
//	… s.Want(event) …
//	s.End()
type Sender struct {
	mu    sync.Mutex
	some  sync.Cond
	wants []Want
	ended bool
}

// Named is a Folder with the name by which the build knows it: context, dockerfile, or
// context:NAME. Key says which folder of which machine it is: what the engine has kept of
// a folder of another key it does not take for this one's.
type Named struct {
	Name, Key string
	Folder
}

// NewSender returns a Sender.
func NewSender() *Sender {
	s := &Sender{}
	s.some.L = &s.mu
	return s
}

// Want has files sent. It does not wait for that.
func (s *Sender) Want(w []Want) {
	s.mu.Lock()
	s.wants = append(s.wants, w...)
	s.mu.Unlock()
	s.some.Signal()
}

// End ends Send: nothing more is wanted.
func (s *Sender) End() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.some.Signal()
}

// next waits for a want. flush is called before it waits.
func (s *Sender) next(flush func() error) (w Want, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.wants) == 0 && !s.ended {
		s.mu.Unlock()
		err := flush()
		s.mu.Lock()
		if err != nil {
			return w, false, err
		}
		if len(s.wants) == 0 && !s.ended {
			s.some.Wait()
		}
	}
	if s.ended {
		return w, false, nil
	}
	w, s.wants = s.wants[0], s.wants[1:]
	return w, true, nil
}

// Send writes the listing, and then the files that are wanted.
func (s *Sender) Send(w io.Writer, folders []Named) error {
	out := bufio.NewWriterSize(w, 256<<10)
	known := map[string]map[string]bool{} // nothing else of ours is read, whatever is asked for
	byName := map[string]Folder{}
	for _, f := range folders {
		if err := frame(out, kindFolder, head{f.Name, f.Key}); err != nil {
			return err
		}
		names := map[string]bool{}
		err := f.List(func(e Entry) error {
			names[e.Name] = true
			return frame(out, kindEntry, e)
		})
		if err != nil {
			return err
		}
		known[f.Name], byName[f.Name] = names, f.Folder
	}
	if _, err := out.Write([]byte{kindListed, 0, 0, 0, 0}); err != nil {
		return err
	}
	buf := make([]byte, frameHead+4+128<<10)
	for {
		want, ok, err := s.next(out.Flush)
		if err != nil || !ok {
			return errors.Join(err, out.Flush())
		}
		if !known[want.Folder][want.Name] {
			return fmt.Errorf("the engine asks for %s of %s, which is no file of the build", want.Name, want.Folder)
		}
		if err := sendFile(out, buf, want, byName[want.Folder]); err != nil {
			return err
		}
	}
}

func frame(out *bufio.Writer, kind byte, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	h := [frameHead]byte{kind}
	binary.BigEndian.PutUint32(h[1:], uint32(len(b)))
	if _, err := out.Write(h[:]); err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// sendFile sends a file; buf has room for a frame.
func sendFile(out *bufio.Writer, buf []byte, want Want, f Folder) error {
	binary.BigEndian.PutUint32(buf[frameHead:], want.Number)
	in, err := f.Open(want.Name)
	if err != nil && want.Ahead {
		buf[0] = kindNone
		binary.BigEndian.PutUint32(buf[1:], 4)
		_, err = out.Write(buf[:frameHead+4])
		return err
	}
	if err != nil {
		return err
	}
	defer in.Close()
	buf[0] = kindData
	for {
		n, err := in.Read(buf[frameHead+4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf[1:], uint32(4+n))
			if _, err := out.Write(buf[:frameHead+4+n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			binary.BigEndian.PutUint32(buf[1:], 4)
			_, err = out.Write(buf[:frameHead+4])
			return err
		}
		if err != nil {
			return err
		}
	}
}
