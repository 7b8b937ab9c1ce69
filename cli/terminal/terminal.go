// Package terminal does what commands that attach do to the user's terminal: raw
// mode, sizes, detach keys, and the signals that are passed on.
package terminal

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/moby/term"
)

// DefaultDetachKeys detach from a container unless others are chosen.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// Of returns the descriptor behind a stream if that is a terminal.
func Of(stream any) (fd uintptr, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile {
		return 0, false
	}
	return f.Fd(), term.IsTerminal(f.Fd())
}

// Size returns the size of the terminal behind a stream, 0, 0 if it is none.
func Size(stream any) (rows, cols uint16) {
	fd, ok := Of(stream)
	if !ok {
		return 0, 0
	}
	ws, err := term.GetWinsize(fd)
	if err != nil {
		return 0, 0
	}
	return ws.Height, ws.Width
}

// Raw makes terminals raw, the input's and the output's, and returns how to undo
// it; what is no terminal is left alone. Undoing twice does nothing.
func Raw(in, out any) (restore func(), err error) {
	var undo []func()
	restore = func() {
		for _, u := range undo {
			u()
		}
		undo = nil
	}
	for _, s := range []struct {
		stream any
		set    func(uintptr) (*term.State, error)
	}{{in, term.SetRawTerminal}, {out, term.SetRawTerminalOutput}} {
		fd, ok := Of(s.stream)
		if !ok {
			continue
		}
		state, err := s.set(fd)
		if err != nil {
			restore()
			return func() {}, fmt.Errorf("cannot make the terminal raw: %w", err)
		}
		if state != nil {
			undo = append(undo, func() { term.RestoreTerminal(fd, state) })
		}
	}
	return restore, nil
}

// NoEcho has a terminal not show what is typed, and returns how to undo it. Lines and
// the keys for signals work as before.
func NoEcho(in any) (restore func(), err error) {
	fd, ok := Of(in)
	if !ok {
		return func() {}, nil
	}
	state, err := term.SaveState(fd)
	if err == nil {
		err = term.DisableEcho(fd, state)
	}
	if err != nil {
		return func() {}, fmt.Errorf("cannot keep the terminal from showing what is typed: %w", err)
	}
	return func() { term.RestoreTerminal(fd, state) }, nil
}

// Detachable returns a reader that ends with an error for which Detached is true
// when the detach keys are typed.
func Detachable(in io.Reader, keys string) (io.Reader, error) {
	if keys == "" {
		keys = DefaultDetachKeys
	}
	b, err := term.ToBytes(keys)
	if err != nil {
		return nil, fmt.Errorf("invalid detach keys (%s): write keys like ctrl-p,ctrl-q or a single letter", keys)
	}
	return term.NewEscapeProxy(in, b), nil
}

// Detached reports whether reading ended by the detach keys.
func Detached(err error) bool {
	_, ok := err.(term.EscapeError)
	return ok
}

// Printable shows the control characters of a text, but for ends of lines and tabs:
// images, registries and containers have words in what is printed, and none of them may
// drive the terminal.
func Printable(text string) string {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if strings.IndexFunc(text, control) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if control(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Plain returns a writer that writes to out what is printable of each text, if out is a
// terminal; elsewhere it is out.
func Plain(out io.Writer) io.Writer {
	if _, ok := Of(out); !ok {
		return out
	}
	return printing{out}
}

type printing struct{ out io.Writer }

func (p printing) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.out, Printable(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
