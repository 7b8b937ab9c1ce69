package image

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hoy/lib/failpoint"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// TestKill kills a process that works on a store, at each failpoint and at random
// moments, again and again, and finds the store whole each time: what was answered
// holds, every image is complete and runs, and nothing else is left once it is collected.
func TestKill(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	kills(t, rounds, false)
}

// TestSoakKill does it 200 times at random.
func TestSoakKill(t *testing.T) {
	if os.Getenv("HOY_SOAK") == "" {
		t.Skip("200 kills take minutes: make soak")
	}
	kills(t, 200, true)
}

func kills(t *testing.T, rounds int, parts bool) {
	rootful.Check(t)
	reg := serve(t)
	pullable(reg, parts)
	root := t.TempDir()
	names := map[string]byte{}
	points := append(failpoint.Store, failpoint.ImageFetchBegun, failpoint.ImageFetchSome, failpoint.ImageFetchChecked, failpoint.ImageFetchLinked, failpoint.ImagePullLayers)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rounds + len(points) {
		k := killing{root: root, host: reg.Host, seed: i, after: 20 + r.IntN(200), delay: time.Duration(r.IntN(20)) * time.Millisecond}
		if i < len(points) {
			k.after, k.point = 1<<30, points[i]
		}
		if !k.run(t, names) {
			t.Fatalf("round %d: %+v", i, k)
		}
		if whole(t, root, names); t.Failed() {
			t.Fatalf("round %d: %+v", i, k)
		}
	}
	empty(t, root)
}

// killing is one process that is killed.
type killing struct {
	root, host string
	seed       int
	after      int             // lines that it prints before
	delay      time.Duration   // from then on
	point      failpoint.Point // where it dies by itself
}

// run runs the process until it has printed so many lines, or dies, and updates names
// with what it has said.
func (k *killing) run(t *testing.T, names map[string]byte) bool {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, "work", k.root, strconv.Itoa(k.seed), k.host)
	c.Env = append(os.Environ(), fmt.Sprintf("HOY_FAILPOINT=%s=kill", k.point))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ok := true
	after := k.after
	for s := bufio.NewScanner(out); s.Scan(); after-- {
		kind, name, _ := strings.Cut(s.Text(), " ")
		switch kind {
		case "?":
			if before := names[name]; before == '+' {
				names[name] = 'p' // was there: if nothing happens it still is
			} else {
				names[name] = '?'
			}
		case "=":
			if names[name] == 'p' {
				names[name] = '+'
			}
		case "+", "-":
			names[name] = kind[0]
		default:
			t.Errorf("seed %d: %s", k.seed, s.Text())
			ok = false
		}
		if after == 0 || !ok {
			time.AfterFunc(k.delay, func() { c.Process.Kill() })
		}
	}
	c.Wait()
	return ok
}

// whole opens the store and looks at all that is in it.
func whole(t *testing.T, root string, names map[string]byte) {
	t.Helper()
	s, err := Open(t.Context(), Options{Root: root, Unpacker: unpacker(t)})
	if err != nil {
		t.Errorf("cannot open: %v", err)
		return
	}
	defer s.Close()
	s.Collect(nil)
	for name, state := range names {
		_, err := s.Get(t.Context(), name)
		if state == '+' && err != nil || state == '-' && err == nil {
			t.Errorf("%s is %c, and now: %v", name, state, err)
		}
		names[name] = '?'
		if err == nil {
			names[name] = '+'
		}
	}
	all, _ := s.List(t.Context())
	for _, im := range all {
		complete(t, s, im)
	}
	eventually.True(t, "nothing left that nobody needs", func() bool { return len(left(t, s)) == 0 })
}

// empty removes all images: nothing is left of them, nor of pulls that were broken off.
func empty(t *testing.T, root string) {
	t.Helper()
	s := open(t, Options{Root: root})
	s.Collect(nil)
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range all {
		if _, err := s.Remove(t.Context(), im.ID, true, nil); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := s.Prune(t.Context(), PruneOptions{}); err != nil {
		t.Error(err)
	}
	eventually.True(t, "an empty store", func() bool {
		files := leftovers(t, s)
		for _, dir := range []string{"content/blobs/sha256", "overlay/snapshots"} {
			found, _ := filepath.Glob(filepath.Join(root, dir, "*"))
			files = append(files, found...)
		}
		return len(files) == 0
	})
}
