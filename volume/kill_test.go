package volume

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
	"hoy/test/rootful"
)

// work changes the store at root, at random by seed, until it is killed. Before it makes
// or removes a name it prints "? name", and after it "+ name" when the volume is there,
// "- name" when it is not.
func work(root, image, seed string) int {
	s, err := Open(root)
	if err != nil {
		fmt.Println("! open:", err)
		return 1
	}
	img, err := os.Open(image)
	if err != nil {
		panic(err)
	}
	n, _ := strconv.ParseUint(seed, 10, 64)
	r := rand.New(rand.NewPCG(n, 0))
	for {
		name, other := fmt.Sprint("v", r.IntN(5)), fmt.Sprint("v", r.IntN(5))
		fmt.Println("?", name, other)
		gone := ""
		switch r.IntN(5) {
		case 0:
			_, err = s.Create(Request{Name: name})
			if err == nil {
				err = s.Populate(name, "", img, "/", nil)
			}
		case 1:
			_, err = s.Clone(other, Request{Name: name})
		case 2:
			if _, err = s.Rename(other, name); err == nil {
				gone = other
			}
		case 3:
			_, err = s.Make(Request{Name: name}, files)
		case 4:
			if err = s.Remove(name, false); err == nil {
				name, gone = "", name
			}
		}
		if err != nil {
			if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
				fmt.Println("! ", name, other, err)
			}
			continue
		}
		fmt.Println("+", name, "-", gone)
	}
}

// files is what every volume of this test has.
func files(dir *os.File) error {
	var errs []error
	for i := range 3 {
		at := fmt.Sprintf("/proc/self/fd/%d/f%d", dir.Fd(), i)
		errs = append(errs, os.WriteFile(at, []byte(strings.Repeat(strconv.Itoa(i), 10_000)), 0o644))
	}
	return errors.Join(errs...)
}

// TestKill kills a process that works on volumes, at each failpoint and at random, and
// finds each volume whole or not there, what was answered true, and nothing besides.
func TestKill(t *testing.T) {
	rootful.Check(t)
	root, image := t.TempDir(), t.TempDir()
	dir, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := files(dir); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range len(failpoint.Volume) + 30 {
		env, after := "HOY_FAILPOINT=", 5+r.IntN(100)
		if i < len(failpoint.Volume) {
			env, after = fmt.Sprintf("HOY_FAILPOINT=%s=kill", failpoint.Volume[i]), 10_000
		}
		known := killed(t, exec.Command(os.Args[0], "work", root, image, strconv.Itoa(i)), env, after)
		s := open(t, root)
		whole(t, s, known)
		if s.Close(); t.Failed() {
			t.Fatalf("round %d, %s, killed after %d lines", i, env, after)
		}
	}
}

// killed runs a process until it has printed so many lines, or dies, and returns what it
// has said of names last: '+' or '-'.
func killed(t *testing.T, c *exec.Cmd, env string, after int) map[string]string {
	t.Helper()
	c.Env = append(os.Environ(), env)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	at := 0
	for s := bufio.NewScanner(out); s.Scan(); at++ {
		switch f := strings.Fields(s.Text()); f[0] {
		case "?":
			delete(known, f[1])
			delete(known, f[2])
		case "+":
			if i := strings.Index(s.Text(), "- "); i > 0 && len(s.Text()) > i+2 {
				known[s.Text()[i+2:]] = "-"
			}
			if f[1] != "-" {
				known[f[1]] = "+"
			}
		default:
			t.Error(s.Text())
		}
		if at == after {
			c.Process.Kill()
		}
	}
	c.Wait()
	if at >= after && after == 10_000 {
		t.Errorf("%s was never reached", env)
	}
	return known
}

func whole(t *testing.T, s *Store, known map[string]string) {
	t.Helper()
	for name, state := range known {
		if _, err := s.Get(name); (err == nil) != (state == "+") {
			t.Errorf("%s is %s, and now: %v", name, state, err)
		}
	}
	for _, v := range s.List() {
		es, err := os.ReadDir(v.Mountpoint)
		if err != nil || len(es) != 3 && len(es) != 0 { // 0: the copy from the image had not begun
			t.Errorf("%s has %d files, %v", v.Name, len(es), err)
		}
		for _, e := range es {
			b, err := os.ReadFile(filepath.Join(v.Mountpoint, e.Name()))
			if err != nil || len(b) != 10_000 || b[0] != e.Name()[1] {
				t.Errorf("%s/%s: %d bytes, %v", v.Name, e.Name(), len(b), err)
			}
		}
	}
	s.work.Wait()
	es, err := os.ReadDir(s.root)
	if err != nil || len(es) != len(s.List()) {
		t.Errorf("%v beside %d volumes, %v", es, len(s.List()), err)
	}
}
