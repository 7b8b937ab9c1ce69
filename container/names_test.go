package container

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hoy/lib/fault"
)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"web": "web", "/web": "web", "a1": "a1", "a.b-c_d": "a.b-c_d", "9x": "9x",
		"": "", "a": "", "/": "", "-a": "", ".a": "", "_a": "", "a b": "", "a/b": "", "//a": "", "ä1": "", "a\n": "", strings.Repeat("a", 300): strings.Repeat("a", 300),
	} {
		got, err := checkName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

func TestRandomNamesAreNames(t *testing.T) {
	for try := range 20 {
		if n := randomName(try); n == "" || !validName.MatchString(n) || !strings.Contains(n, "_") {
			t.Errorf("try %d: %q", try, n)
		}
	}
}

func known(ids ...string) *index {
	x := newIndex()
	for _, id := range ids {
		x.add(newContainer(&record{ID: id, Name: "name-" + id}))
		x.reserve("name-"+id, id)
	}
	return x
}

func TestGet(t *testing.T) {
	x := known("abc1", "abc2", "def", "abc")
	for ref, want := range map[string]string{
		"abc1": "abc1", "de": "def", "name-def": "def", "/name-abc2": "abc2", "abc": "abc",
	} {
		if k, err := x.get(ref); err != nil || k.id != want {
			t.Errorf("%q: %v, %v", ref, k, err)
		}
	}
	for ref, kind := range map[string]fault.Kind{"": fault.Invalid, "ab": fault.Invalid, "x": fault.NotFound, "def0": fault.NotFound, "name": fault.NotFound} {
		if k, err := x.get(ref); !fault.Is(err, kind) {
			t.Errorf("%q: %v, %v", ref, k, err)
		}
	}
	k, _ := x.get("abc2")
	x.remove(k)
	if _, err := x.get("name-abc2"); !fault.Is(err, fault.NotFound) || !x.gone(k) {
		t.Errorf("still there: %v", err)
	}
	if err := x.reserve("name-abc2", "other"); err != nil {
		t.Errorf("its name is not free: %v", err)
	}
}

func TestOfManyOneGetsTheName(t *testing.T) {
	x := newIndex()
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch err := x.reserve("web", newID()); {
			case err == nil:
				won.Add(1)
			case !fault.Is(err, fault.Conflict) || !strings.HasPrefix(err.Error(), `Conflict. The container name "/web" is already in use by container "`):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have the name", won.Load())
	}
}

func TestIDs(t *testing.T) {
	for range 100 {
		if id := newID(); len(id) != 64 || strings.Trim(id[:12], "0123456789") == "" {
			t.Error(id)
		}
	}
}
