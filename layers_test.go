// Package hoy holds the project's architecture to what LAYERS says.
package hoy

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

type forbidden struct{ pkg, dep, reason string }

// layers reads LAYERS: the rank of each folder, 0 at the top, and the extra bans.
func layers(t *testing.T) (rank map[string]int, bans []forbidden) {
	b, err := os.ReadFile("LAYERS")
	if err != nil {
		t.Fatal(err)
	}
	rank = map[string]int{}
	for n, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		switch {
		case len(f) == 0 || strings.HasPrefix(l, "#"):
		case f[0] == "!":
			bans = append(bans, forbidden{"hoy/" + f[1], f[2], strings.Join(f[3:], " ")})
		default:
			for _, folder := range f {
				rank[folder] = n
			}
		}
	}
	return rank, bans
}

// folder returns the longest folder of LAYERS that holds the package, "" if none.
func folder(rank map[string]int, path string) string {
	p := strings.TrimPrefix(path, "hoy/")
	for p != "" {
		if _, ok := rank[p]; ok {
			return p
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return ""
		}
		p = p[:i]
	}
	return ""
}

func packages(t *testing.T) []pkg {
	c := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var ps []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestLayers(t *testing.T) {
	rank, bans := layers(t)
	ps := packages(t)
	for _, p := range ps {
		if p.ImportPath == "hoy" || strings.HasPrefix(p.ImportPath, "hoy/test") {
			continue // tests may use everything
		}
		from := folder(rank, p.ImportPath)
		if from == "" {
			t.Errorf("%s is in no line of LAYERS", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "hoy/") {
				continue
			}
			to := folder(rank, i)
			top := func(s string) string { s, _, _ = strings.Cut(s, "/"); return s }
			same := rank[to] == rank[from] && (to == from || top(to) == top(from))
			if strings.HasPrefix(i, "hoy/test") || to == "" || rank[to] < rank[from] || rank[to] == rank[from] && !same {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, i)
			}
		}
	}
	for _, b := range bans {
		for _, p := range ps {
			if p.ImportPath != b.pkg {
				continue
			}
			for _, d := range p.Deps {
				if d == b.dep || strings.HasPrefix(d, b.dep+"/") {
					t.Errorf("%s depends on %s: %s", b.pkg, d, b.reason)
				}
			}
		}
	}
}
