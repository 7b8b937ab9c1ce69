package container

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

func saved(t *testing.T, autoRemove bool) (*Containers, *record) {
	c := &Containers{o: Options{Root: t.TempDir(), ExecRoot: t.TempDir()}, index: newIndex()}
	rec := &record{
		Version: recordVersion, ID: "abc", Name: "n", Created: time.Unix(1, 2).UTC(),
		Config: &apicontainer.Config{Cmd: []string{"x"}}, Host: &apicontainer.HostConfig{AutoRemove: autoRemove, NetworkMode: "none"},
		Mounts: []mountPoint{{MountPoint: apicontainer.MountPoint{Name: "v", Destination: "/d"}, Anonymous: true}},
		State:  state{Status: "exited", Generation: 3, ExitCode: 4, FinishedAt: time.Unix(5, 0).UTC()},
	}
	if err := os.Mkdir(c.dir("abc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.save(newContainer(rec)); err != nil {
		t.Fatal(err)
	}
	return c, rec
}

// leftLayers and leftVolumes are what an engine that was killed has left.
type leftLayers struct {
	Layers
	ids  []string
	gone *[]string
}

func (l leftLayers) List() ([]string, error) { return l.ids, nil }
func (l leftLayers) Remove(id string) error {
	*l.gone = append(*l.gone, "layer "+id)
	return nil
}

type leftVolumes struct {
	Volumes
	gone *[]string
}

func (v leftVolumes) Forsake(container string) []string {
	*v.gone = append(*v.gone, "volumes of "+container)
	return nil
}

// TestCreationCutShort: of a container that never got its record nothing stays, and the layer
// goes last, since it tells of that.
func TestCreationCutShort(t *testing.T) {
	c, rec := saved(t, false)
	c.log = discard()
	c.index.add(newContainer(rec))
	var gone []string
	c.o.Layers, c.o.Volumes = leftLayers{ids: []string{rec.ID, "never"}, gone: &gone}, leftVolumes{gone: &gone}
	if err := c.tidyLayers(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"volumes of never", "layer never"}; !slices.Equal(gone, want) {
		t.Errorf("removed %q, want %q", gone, want)
	}
}

func TestRecordComesBack(t *testing.T) {
	for _, autoRemove := range []bool{false, true} {
		c, rec := saved(t, autoRemove)
		got, err := loadRecord(c.recordPath("abc"))
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%+v, %v\nwant %+v", got, err, rec)
		}
	}
}

// TestHalfMade: what has no record is removed, what cannot be understood stays.
func TestHalfMade(t *testing.T) {
	for _, tc := range []struct {
		what    string
		content string // "-": no file
		temp    bool   // of a container that is removed at its exit
		gone    bool
	}{
		{"no record", "-", false, true},
		{"empty record", "", false, false},
		{"empty record that was not synced", "", true, true},
		{"cut record", `{"version":1,"id":"abc","na`, false, false},
		{"another version", `{"version":2,"id":"abc"}`, true, false},
		{"another id", `{"version":1,"id":"x","config":{},"hostConfig":{}}`, false, false},
		{"incomplete", `{"version":1,"id":"abc"}`, false, false},
	} {
		c, _ := saved(t, tc.temp)
		c.log = discard()
		path := c.recordPath("abc")
		if tc.content == "-" {
			os.Remove(path)
		} else if err := os.WriteFile(path, []byte(tc.content), 0); err != nil { // its mode stays
			t.Fatal(err)
		}
		if rec := c.loadOne("abc"); rec != nil {
			t.Errorf("%s: restored %+v", tc.what, rec)
		}
		_, err := os.Stat(c.dir("abc"))
		if errors.Is(err, os.ErrNotExist) != tc.gone {
			t.Errorf("%s: %v", tc.what, err)
		}
		if l := c.Strangers(); (len(l) == 0) != tc.gone {
			t.Errorf("%s: kept for %v", tc.what, l)
		}
	}
}

func TestLoadRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if r, err := loadRunning(path); r != nil || err != nil {
		t.Errorf("missing: %v %v", r, err)
	}
	want := &running{Version: recordVersion, ID: "abc", Generation: 2, Pid: 7, Cgroup: "/hoy/abc"}
	if err := writeJSON(path, want); err != nil {
		t.Fatal(err)
	}
	if r, err := loadRunning(path); err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range []string{"", "{", `{"version":9}`} {
		os.WriteFile(path, []byte(bad), 0o600)
		if r, err := loadRunning(path); err == nil {
			t.Errorf("%q: %v", bad, r)
		}
	}
}

func FuzzLoadRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"abc","config":{"Cmd":["x"]},"hostConfig":{}}`))
	f.Add([]byte(`{"version":1,"id":"abc","config":null}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "record.json")
		os.WriteFile(path, b, 0o600)
		if r, err := loadRecord(path); (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// TestUnplacedPortsOfRecord: a port that an older engine's record publishes without a place
// gets one of the engine's choice.
func TestUnplacedPortsOfRecord(t *testing.T) {
	c, rec := saved(t, false)
	bare, placed := apinetwork.MustParsePort("80/tcp"), apinetwork.MustParsePort("81/tcp")
	rec.Host.PortBindings = apinetwork.PortMap{bare: {}, placed: {{HostPort: "8081"}}}
	if err := c.save(newContainer(rec)); err != nil {
		t.Fatal(err)
	}
	got, err := loadRecord(c.recordPath("abc"))
	if err != nil {
		t.Fatal(err)
	}
	want := apinetwork.PortMap{bare: {{}}, placed: {{HostPort: "8081"}}}
	if !reflect.DeepEqual(got.Host.PortBindings, want) {
		t.Errorf("got %v, want %v", got.Host.PortBindings, want)
	}
}

// TestSavesEndWithTheRecord: a save that is behind an answer, as a start's, neither keeps the
// directory from being removed, nor leaves the record in one that the next container gets.
func TestSavesEndWithTheRecord(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for range 100 {
			c, rec := saved(t, true)
			c.log = discard()
			k := newContainer(rec)
			k.shared = shared
			c.index.add(k)
			over := make(chan struct{})
			var saves sync.WaitGroup
			for range 2 {
				saves.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
							c.save(k)
						}
					}
				})
			}
			err := c.removeDir(k)
			close(over)
			saves.Wait()
			left, _ := filepath.Glob(filepath.Join(c.o.Root, "*", "record.json"))
			if _, there := os.Lstat(c.dir(k.id)); err != nil || there == nil || len(left) > 0 {
				t.Fatalf("shared %v: %v, %v; left %v", shared, err, there, left)
			}
		}
	}
}
