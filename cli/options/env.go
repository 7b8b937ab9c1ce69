package options

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Env is what the flags may refer to on this side: variables, files, folders.
type Env struct {
	Lookup func(string) (string, bool)
	Open   func(string) (fs.File, error)
	Abs    func(string) (string, error)
	// Socket is the path of the engine's socket on the engine's machine; "" if we reach it
	// in another way.
	Socket string
	// Proxies are variables, NAME=value, for containers and builds that are not given them.
	Proxies []string
	// UID and GID are the caller's; 0 also where there are none.
	UID, GID int
	// Console returns the size of our terminal, rows and columns; 0, 0 if none.
	Console func() (rows, cols uint)
}

// System returns the Env of this process.
func System() Env {
	return Env{
		Lookup:  os.LookupEnv,
		Open:    func(p string) (fs.File, error) { return os.Open(p) },
		Abs:     filepath.Abs,
		UID:     max(os.Getuid(), 0),
		GID:     max(os.Getgid(), 0),
		Console: func() (uint, uint) { return 0, 0 },
	}
}

// withProxies adds the proxies to variables.
func (e Env) withProxies(given []string) []string {
	l := slices.Clone(given)
	for _, p := range e.Proxies {
		name, _, _ := strings.Cut(p, "=")
		if !slices.ContainsFunc(given, func(s string) bool { return s == name || strings.HasPrefix(s, name+"=") }) {
			l = append(l, p)
		}
	}
	return l
}

// checkEnv refuses a variable without a name. NAME alone is completed by expand.
func checkEnv(s string) (string, error) {
	if k, _, _ := strings.Cut(s, "="); k == "" {
		return "", fmt.Errorf("%q is no environment variable: write NAME=value", s)
	}
	return s, nil
}

// expand gives NAME our value of it. Without one it stays as it is: then the
// engine takes the variable away, should the image have it.
func (e Env) expand(s string) string {
	if !strings.Contains(s, "=") {
		if v, ok := e.Lookup(s); ok {
			return s + "=" + v
		}
	}
	return s
}

// maxLine bounds a line of a file of variables or labels.
const maxLine = 1 << 20

// readFile reads NAME=value lines: empty lines and those that start with # are
// none. A line with a NAME alone is passed to bare, which may drop it.
func (e Env) readFile(name string, bare func(string) (string, bool)) (out []string, err error) {
	f, err := e.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLines(f, name, bare)
}

func readLines(r io.Reader, name string, bare func(string) (string, bool)) (out []string, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if n == 1 {
			line = strings.TrimPrefix(line, "\uFEFF") // the mark that some editors put first
		}
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("invalid utf8 bytes at line %d of %s", n, name)
		}
		line = strings.TrimLeft(line, " \t\v\f\r")
		if line == "" || line[0] == '#' {
			continue
		}
		k, _, has := strings.Cut(line, "=")
		switch {
		case k == "":
			return nil, fmt.Errorf("no variable name on line %d of %s: write NAME=value", n, name)
		case strings.ContainsAny(k, " \t"):
			return nil, fmt.Errorf("variable '%s' contains whitespaces on line %d of %s", k, n, name)
		}
		if !has {
			if line, has = bare(strings.TrimRight(k, "\r")); !has {
				continue
			}
		}
		out = append(out, line)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return out, nil
}

// Variables returns the environment of files and then of single variables, for run
// and exec alike.
func (e Env) Variables(files, single []string) (out []string, err error) {
	for _, f := range files {
		lines, err := e.readFile(f, func(name string) (string, bool) {
			v, ok := e.Lookup(name)
			return name + "=" + v, ok
		})
		if err != nil {
			return nil, fmt.Errorf("cannot use --env-file: %w", err)
		}
		out = append(out, lines...)
	}
	for _, s := range single {
		out = append(out, e.expand(s))
	}
	return out, nil
}

// labels merges the files of --label-file with --label.
func (o *Create) labels(e Env) (map[string]string, error) {
	var all []string
	for _, f := range o.labelFile.v {
		lines, err := e.readFile(f, func(name string) (string, bool) { return name, true })
		if err != nil {
			return nil, fmt.Errorf("cannot use --label-file: %w", err)
		}
		all = append(all, lines...)
	}
	labels := pairs(append(all, o.label.v...))
	if o.onUnhealthy != "" {
		labels[unhealthyLabel] = o.onUnhealthy
	}
	return labels, nil
}

// unhealthyLabel carries --on-unhealthy, for which docker's API has no field.
const unhealthyLabel = "hoy.on-unhealthy"

// pairs makes a map of key=value; key alone has the value "".
func pairs(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, s := range list {
		k, v, _ := strings.Cut(s, "=")
		m[k] = v
	}
	return m
}

// ListFlag is a flag that may be given several times, for commands besides create.
type ListFlag = list

// NewEnvFlag returns the flag --env.
func NewEnvFlag() *ListFlag { return new(list).of("list", checkEnv) }

// NewListFlag returns a flag that takes any values.
func NewListFlag() *ListFlag { return new(list).of("list", nil) }

// NewLabelFlag returns the flag --label.
func NewLabelFlag() *ListFlag { return new(list).of("list", checkKey("label", "env=production")) }

// NewOptFlag returns a flag of options, key=value or a key alone.
func NewOptFlag() *ListFlag { return new(list).of("map", checkKey("option", "size=10m")) }

// Values returns what was given.
func (l *list) Values() []string { return l.v }

// Pairs returns what was given as a map.
func (l *list) Pairs() map[string]string { return pairs(l.v) }
