// Package applet implements the programs of the built-in image's userland.
package applet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/u-root/u-root/pkg/core"
	"github.com/u-root/u-root/pkg/core/base64"
	"github.com/u-root/u-root/pkg/core/cat"
	"github.com/u-root/u-root/pkg/core/chmod"
	"github.com/u-root/u-root/pkg/core/cp"
	"github.com/u-root/u-root/pkg/core/find"
	"github.com/u-root/u-root/pkg/core/gzip"
	"github.com/u-root/u-root/pkg/core/ls"
	"github.com/u-root/u-root/pkg/core/mkdir"
	"github.com/u-root/u-root/pkg/core/mktemp"
	"github.com/u-root/u-root/pkg/core/mv"
	"github.com/u-root/u-root/pkg/core/rm"
	"github.com/u-root/u-root/pkg/core/shasum"
	"github.com/u-root/u-root/pkg/core/tar"
	"github.com/u-root/u-root/pkg/core/touch"
	"github.com/u-root/u-root/pkg/core/xargs"
)

// call is one invocation of a program.
type call struct {
	name string
	args []string // without the name
	in   io.Reader
	out  *bufio.Writer // flushed when the program ends
	err  io.Writer
}

// program runs a call. An error becomes one line on stderr and exit code 1, unless
// it is an exit.
type program func(c *call) error

// exit ends a program with a code and nothing printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs the program that args[0] names, or args[1] when args[0] is the toolbox
// itself, and returns its exit code.
func Main(args []string) int {
	name := strings.TrimPrefix(filepath.Base(args[0]), "-") // a login shell's name begins with "-"
	if name == "hoy-toolbox" {
		if len(args) < 2 {
			fmt.Fprintf(os.Stderr, "usage: hoy-toolbox PROGRAM [ARGUMENT...]\nprograms: %s\n", strings.Join(list(), " "))
			return 2
		}
		name, args = args[1], args[1:]
	}
	if os.Getpid() == 1 {
		endOnSignal()
	}
	return run(name, args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// endOnSignal makes SIGTERM end a container's first process, which the kernel
// otherwise spares: signals without handler do not reach it (pid_namespaces(7)).
func endOnSignal() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	go func() {
		<-ch
		os.Exit(128 + int(syscall.SIGTERM))
	}()
}

func run(name string, args []string, in io.Reader, out, stderr io.Writer) int {
	p := lookupProgram(name)
	if p == nil {
		fmt.Fprintf(stderr, "%s: no such program in the toolbox\n", name)
		return 127
	}
	c := &call{name, args, in, bufio.NewWriterSize(out, 32<<10), stderr}
	err := p(c)
	if ferr := c.out.Flush(); err == nil {
		err = ferr
	}
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return 1
}

func lookupProgram(name string) program {
	for _, t := range []map[string]program{text(), files(), system(), network(), library()} {
		if p := t[name]; p != nil {
			return p
		}
	}
	return nil
}

func list() []string {
	var l []string
	for _, t := range []map[string]program{text(), files(), system(), network(), library()} {
		for n := range t {
			l = append(l, n)
		}
	}
	return sorted(l)
}

// library are the programs that u-root implements.
func library() map[string]program {
	t := map[string]program{}
	for name, make := range map[string]func() core.Command{
		"base64": func() core.Command { return base64.New() },
		"cat":    func() core.Command { return cat.New() },
		"chmod":  func() core.Command { return chmod.New() },
		"cp":     func() core.Command { return cp.New() },
		"find":   func() core.Command { return find.New() },
		"gunzip": func() core.Command { return gzip.New("gunzip") },
		"gzcat":  func() core.Command { return gzip.New("gzcat") },
		"gzip":   func() core.Command { return gzip.New("gzip") },
		"ls":     func() core.Command { return ls.New() },
		"mkdir":  func() core.Command { return mkdir.New() },
		"mktemp": func() core.Command { return mktemp.New() },
		"mv":     func() core.Command { return mv.New() },
		"rm":     func() core.Command { return rm.New() },
		"shasum": func() core.Command { return shasum.New() },
		"tar":    func() core.Command { return tar.New() },
		"touch":  func() core.Command { return touch.New() },
		"xargs":  func() core.Command { return xargs.New() },
	} {
		t[name] = func(c *call) error {
			cmd := make()
			cmd.SetIO(c.in, c.out, c.err)
			return cmd.RunContext(context.Background(), c.args...)
		}
	}
	return t
}

// flags reads options as getopt(3): spec lists the letters, a colon behind one that
// takes a value. "--" ends them.
func flags(args []string, spec string) (opt map[byte]string, rest []string, err error) {
	opt = map[byte]string{}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		a := args[0][1:]
		args = args[1:]
		if a == "-" {
			break
		}
		for a != "" {
			ch := a[0]
			a = a[1:]
			i := strings.IndexByte(spec, ch)
			if i < 0 || ch == ':' {
				return nil, nil, fmt.Errorf("unknown option -%c", ch)
			}
			if i+1 == len(spec) || spec[i+1] != ':' {
				opt[ch] = "y"
				continue
			}
			if a == "" {
				if len(args) == 0 {
					return nil, nil, fmt.Errorf("option -%c needs a value", ch)
				}
				a, args = args[0], args[1:]
			}
			opt[ch], a = a, ""
		}
	}
	return opt, args, nil
}

// inputs calls f for each file named, for stdin when there is none or it is "-".
func (c *call) inputs(names []string, f func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		return f("-", c.in)
	}
	for _, n := range names {
		if n == "-" {
			if err := f(n, c.in); err != nil {
				return err
			}
			continue
		}
		file, err := os.Open(n)
		if err != nil {
			return err
		}
		err = f(n, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// lines calls f for each line, without its newline, until it returns false.
func lines(r io.Reader, f func(l string) bool) error {
	br := bufio.NewReader(r)
	for {
		l, err := br.ReadString('\n')
		if l != "" && !f(strings.TrimSuffix(l, "\n")) {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
