package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is sh: -c COMMAND, a script, standard input, or a terminal.
func shell(c *call) error {
	args := c.args
	var command *string
	var opts []string
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		a := args[0]
		args = args[1:]
		if a == "--" {
			break
		}
		if strings.Contains(a[1:], "c") && a[0] == '-' {
			if len(args) == 0 {
				return fmt.Errorf("-c needs a command")
			}
			command, args = &args[0], args[1:]
			a = strings.ReplaceAll(a, "c", "")
		}
		a = strings.NewReplacer("l", "", "i", "", "s", "").Replace(a) // login, interactive, stdin: no difference here
		if len(a) > 1 {
			opts = append(opts, a)
		}
	}
	name := "sh"
	if command == nil && len(args) > 0 || command != nil && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	r, err := newRunner(c, opts, args)
	if err != nil {
		return err
	}
	switch {
	case command != nil:
		return runScript(r, strings.NewReader(*command), name)
	case name != "sh":
		f, err := os.Open(name)
		if err != nil {
			fmt.Fprintf(c.err, "sh: %v\n", err)
			return exit(127)
		}
		defer f.Close()
		return runScript(r, f, name)
	}
	if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return interactive(c, r, f)
	}
	return runLines(c, r, &byteReader{c.in}, func(bool) {})
}

func newRunner(c *call, opts, params []string) (*interp.Runner, error) {
	// Not buffered: what the shell says must come before what its children say.
	var out io.Writer = os.Stdout
	if c.in != os.Stdin {
		out = flushing{c.out, c}
	}
	return interp.New(
		interp.StdIO(c.in, out, c.err),
		interp.Interactive(true), // aliases
		// The interpreter knows the name as a builtin and does not have it.
		interp.CallHandler(func(_ context.Context, args []string) ([]string, error) {
			if args[0] == "kill" {
				return append([]string{"env"}, args...), nil
			}
			return args, nil
		}),
		interp.Params(append(append(opts, "--"), params...)...),
	)
}

func runScript(r *interp.Runner, src io.Reader, name string) error {
	prog, err := syntax.NewParser().Parse(src, name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sh: %v\n", err)
		return exit(2)
	}
	return status(r.Run(context.Background(), prog))
}

func status(err error) error {
	var code interp.ExitStatus
	if errors.As(err, &code) {
		return exit(code)
	}
	return err
}

// runLines runs commands as they come. prompt is called before each line, with
// true inside of an unfinished command.
func runLines(c *call, r *interp.Runner, in io.Reader, prompt func(more bool)) error {
	for {
		p := syntax.NewParser()
		var last error
		prompt(false)
		for stmts, err := range p.InteractiveSeq(in) {
			if err != nil {
				fmt.Fprintf(c.err, "sh: %v\n", err)
				last = exit(2)
				break
			}
			if p.Incomplete() {
				prompt(true)
				continue
			}
			for _, s := range stmts {
				last = status(r.Run(context.Background(), s))
				if r.Exited() {
					return last
				}
			}
			prompt(false)
		}
		var code exit
		if ended(in) || !errors.As(last, &code) {
			return last
		}
	}
}

// ended reports whether no more lines will come.
func ended(in io.Reader) bool {
	t, ok := in.(*terminal)
	return !ok || t.eof
}

// byteReader reads no further than the line at hand, so that a command finds the
// rest of standard input where the shell left it.
type byteReader struct{ io.Reader }

func (r *byteReader) Read(p []byte) (int, error) {
	for n := range p {
		m, err := r.Reader.Read(p[n : n+1])
		if m == 0 {
			return n, err
		}
		if p[n] == '\n' {
			return n + 1, nil
		}
	}
	return len(p), nil
}

// interactive is the shell on a terminal, with line editing and history.
func interactive(c *call, r *interp.Runner, f *os.File) error {
	// A key's signal is for the command, which is in the same process group.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	t := &terminal{file: f}
	t.line = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&t.keys, os.Stdout}, "")
	t.keys.file = f
	return runLines(c, r, t, func(more bool) {
		dir, _ := os.Getwd()
		if r.Dir != "" {
			dir = r.Dir
		}
		t.prompt = dir + " # "
		if os.Geteuid() != 0 {
			t.prompt = dir + " $ "
		}
		if more {
			t.prompt = "> "
		}
	})
}

// terminal reads lines. Between them the terminal is as the commands expect it.
type terminal struct {
	file   *os.File
	line   *term.Terminal
	keys   keys
	prompt string
	rest   []byte
	eof    bool
}

func (t *terminal) Read(p []byte) (int, error) {
	if len(t.rest) == 0 {
		l, err := t.readLine()
		if err != nil {
			t.eof = true
			return 0, io.EOF
		}
		t.rest = []byte(l + "\n")
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *terminal) readLine() (string, error) {
	old, err := term.MakeRaw(int(t.file.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(t.file.Fd()), old)
	if w, h, err := term.GetSize(int(t.file.Fd())); err == nil && w > 0 && h > 0 {
		t.line.SetSize(w, h)
	}
	t.line.SetPrompt(t.prompt)
	t.keys.last = 0
	l, err := t.line.ReadLine()
	if err == io.EOF && t.keys.last == 3 { // ^C: an empty line, and the prompt again
		os.Stdout.WriteString("^C\r\n")
		return "", nil
	}
	return l, err
}

// keys remembers the last key, as ReadLine answers ^C and ^D alike.
type keys struct {
	file *os.File
	last byte
}

func (k *keys) Read(p []byte) (int, error) {
	n, err := k.file.Read(p)
	if n > 0 {
		k.last = p[n-1]
	}
	return n, err
}

// viaShell runs a program that is built into the shell.
func viaShell(c *call) error {
	r, err := newRunner(c, nil, c.args)
	if err != nil {
		return err
	}
	return runScript(r, strings.NewReader(c.name+` "$@"`), "sh")
}
