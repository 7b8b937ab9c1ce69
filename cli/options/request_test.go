package options

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files")

// world is an Env of which tests know everything.
func world() Env {
	files := fstest.MapFS{
		"env":     {Data: []byte("\uFEFF# comment\n\nA=1\n  B=two words\nHOME\nMISSING\nC=\r\n")},
		"labels":  {Data: []byte("team=core\nbare\n")},
		"prof":    {Data: []byte("{ \"defaultAction\":\n \"SCMP_ACT_ALLOW\" }")},
		"badenv":  {Data: []byte("A=1\nB C=2\n")},
		"noname":  {Data: []byte("=2\n")},
		"badjson": {Data: []byte("{")},
	}
	return Env{
		Lookup: func(k string) (string, bool) {
			v, ok := map[string]string{"HOME": "/home/me", "EMPTY": ""}[k]
			return v, ok
		},
		Open:   func(n string) (fs.File, error) { return files.Open(n) },
		Abs:    func(p string) (string, error) { return filepath.Join("/here", p), nil },
		Socket: "/run/engine.sock",
		UID:    1000, GID: 100,
		Console: func() (uint, uint) { return 24, 80 },
	}
}

// parse runs flags and request; a line's words are separated by spaces, and ~ stands
// for a space within a word.
func parse(line string) (map[string]string, error) {
	var o Create
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.Register(f)
	words := strings.Fields(line)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "~", " ")
	}
	if err := f.Parse(words); err != nil {
		return nil, err
	}
	if f.NArg() == 0 {
		return nil, errors.New("no image")
	}
	r, err := o.Request(f.Args(), world())
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	out := map[string]string{}
	flatten(out, "", v)
	return out, nil
}

// flatten makes path=value of JSON; empty values of all kinds look alike.
func flatten(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			out[path] = "{}"
		}
		for k, e := range v {
			flatten(out, path+"."+k, e)
		}
	case []any:
		if len(v) == 0 {
			out[path] = "[]"
		}
		for i, e := range v {
			flatten(out, fmt.Sprintf("%s[%d]", path, i), e)
		}
	default:
		b, _ := json.Marshal(v)
		out[path] = string(b)
	}
}

// TestRequests holds what each flag does to the request: testdata/requests has the
// flags, requests.golden what differs from a request without flags.
func TestRequests(t *testing.T) {
	lines, err := os.ReadFile("testdata/requests")
	if err != nil {
		t.Fatal(err)
	}
	base, err := parse("img")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		fmt.Fprintf(&got, "%s\n", line)
		r, err := parse(line)
		if err != nil {
			fmt.Fprintf(&got, "    ERROR %s\n\n", strings.ReplaceAll(err.Error(), "\n", " | "))
			continue
		}
		var diff []string
		for k, v := range r {
			if base[k] != v {
				diff = append(diff, "    "+strings.TrimPrefix(k, ".")+" = "+v)
			}
		}
		slices.Sort(diff)
		fmt.Fprintf(&got, "%s\n\n", strings.Join(diff, "\n"))
	}
	golden(t, "testdata/requests.golden", got.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s:%d differs (run with -update to accept)\ngot  %s\nwant %s", name, i+1, g[i], w[i])
			}
		}
		t.Fatalf("%s: %d lines, want %d", name, len(g), len(w))
	}
}

// TestEveryFlagShows fails when a flag of create changes nothing in the request: it
// would be ignored in silence.
func TestEveryFlagShows(t *testing.T) {
	lines, err := os.ReadFile("testdata/requests")
	if err != nil {
		t.Fatal(err)
	}
	// These say what the command line does; TestRun… in package cli shows them.
	elsewhere := []string{"name", "platform", "pull", "quiet"}
	var o Create
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.Register(f)
	f.VisitAll(func(fl *pflag.Flag) {
		if GroupOf(fl) == "" {
			t.Errorf("--%s is under no heading of the help", fl.Name)
		}
		if !slices.Contains(elsewhere, fl.Name) && !strings.Contains(string(lines), "--"+fl.Name+" ") && !strings.Contains(string(lines), "--"+fl.Name+"=") && !strings.Contains(string(lines), "--"+fl.Name+"\n") {
			t.Errorf("testdata/requests has no line with --%s", fl.Name)
		}
	})
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"8080:80/udp", "[::1]:80-81:90-91", "::1:80:80", "target=80,published=1-2", "type=bind,src=/a,dst=/b,readonly", "name=n,alias=a,ip=1.2.3.4", "./a:/b:ro,z", "C:\\a:/b", "/dev/a:/dev/b:rw", "all,capabilities=a", "c 1:* r", "host=1.2.3.4", "\"a=b", "nofile=1:2", "on-failure:3", "-1", "1.5", "path:1mb"} {
		f.Add(s)
	}
	checks := []check{checkPublish, checkExpose, checkVolume, checkTmpfs, checkDevice, checkDeviceRule, checkHost, checkIP, checkSearch, checkEnv, checkWeight, checkBps, checkIops, checkUlimit}
	f.Fuzz(func(t *testing.T, s string) {
		for i, c := range checks {
			// What a check accepts it accepts again: checks may rewrite values.
			if v, err := c(s); err == nil {
				if _, err := c(v); err != nil {
					t.Errorf("check %d makes %q of %q, which it refuses: %v", i, v, s, err)
				}
			}
		}
		for _, v := range []pflag.Value{new(mounts), new(networks), new(gpus), new(size), new(swapSize), new(nanoCPUs), new(duration)} {
			if v.Set(s) == nil {
				_ = v.String()
			}
		}
		_, _ = parseRestart(s)
	})
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\n#c\nB\n C=2")
	f.Add("\uFEFFA=1\r\n=\n")
	f.Fuzz(func(t *testing.T, s string) {
		lines, err := readLines(strings.NewReader(s), "f", func(n string) (string, bool) { return n + "=", true })
		if err != nil {
			return
		}
		for _, l := range lines {
			if k, _, ok := strings.Cut(l, "="); !ok || k == "" || strings.ContainsAny(k, " \t\n") {
				t.Errorf("%q gives the variable %q", s, l)
			}
		}
	})
}
