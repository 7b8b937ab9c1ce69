package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container"
	"hoy/lib/fault"
	"hoy/server"
	"hoy/test/engine"
	"hoy/test/eventually"
	"hoy/test/keeperbin"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	code := rootful.Main(m)
	keeperbin.Remove()
	os.Exit(code)
}

// bed is an engine in this process, with a keeper of its own.
type bed struct {
	*Daemon
	t *testing.T
	o Options
}

func newBed(t *testing.T) *bed {
	rootful.Check(t)
	dir := t.TempDir()
	o := DefaultOptions()
	o.DataRoot, o.ExecRoot, o.Keeper, o.Bridge = filepath.Join(dir, "data"), filepath.Join(dir, "run"), keeperbin.Path(t), "hoytest0"
	o.LogLevel = "error"
	b := &bed{t: t, o: o}
	t.Cleanup(func() {
		if b.Daemon != nil {
			b.down()
		}
		eventually.True(b.t, "the keeper ends", func() bool {
			out, _ := exec.Command("pgrep", "-f", o.ExecRoot).Output()
			return len(bytes.TrimSpace(out)) == 0
		})
	})
	b.up()
	return b
}

func (b *bed) up() {
	b.t.Helper()
	d, err := New(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Daemon = d
}

func (b *bed) down() {
	b.t.Helper()
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
	b.Daemon = nil
}

func (b *bed) create(name string, host *apicontainer.HostConfig, cmd ...string) string {
	b.t.Helper()
	if _, err := b.images.store.Get(b.t.Context(), "busybox"); err != nil {
		if _, err := b.images.Import(b.t.Context(), bytes.NewReader(engine.Busybox(b.t)), server.ImageImportOptions{Ref: "busybox"}); err != nil {
			b.t.Fatal(err)
		}
	}
	r, err := b.containers.Create(b.t.Context(), container.CreateRequest{Name: name, HostConfig: host, Config: &apicontainer.Config{Image: "busybox", Cmd: cmd}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r.ID
}

func (b *bed) start(ref string) {
	b.t.Helper()
	if err := b.containers.Start(b.t.Context(), ref); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) state(ref string) *apicontainer.State {
	b.t.Helper()
	i, err := b.containers.Inspect(b.t.Context(), ref, false)
	if err != nil {
		b.t.Fatal(err)
	}
	return i.State
}

func (b *bed) remove(ref string) {
	b.t.Helper()
	if err := b.containers.Remove(context.Background(), ref, container.RemoveOptions{Force: true, Volumes: true}); err != nil {
		b.t.Error(err)
	}
}

// TestRestoreAdopts ends the engine while containers run, end, and are to be removed,
// and lets the next one find them.
func TestRestoreAdopts(t *testing.T) {
	b := newBed(t)
	gate := t.TempDir()
	wait := []string{"sh", "-c", "until [ -e /gate/open ]; do usleep 10000; done; exit 7"}
	host := func(autoRemove bool) *apicontainer.HostConfig {
		return &apicontainer.HostConfig{AutoRemove: autoRemove, NetworkMode: "bridge", Binds: []string{gate + ":/gate:ro"}}
	}
	b.create("ends", host(false), wait...)
	b.create("goes", host(true), wait...)
	b.create("stays", nil, "sleep", "1000")
	for _, ref := range []string{"ends", "goes", "stays"} {
		b.start(ref)
	}
	before, _ := b.containers.Inspect(t.Context(), "stays", false)
	b.down()
	if err := os.WriteFile(filepath.Join(gate, "open"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.up()
	eventually.True(b.t, "the exit is known", func() bool { return b.state("ends").Status == "exited" })
	if s := b.state("ends"); s.ExitCode != 7 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	eventually.True(b.t, "what is to be removed at its exit is removed", func() bool {
		_, err := b.containers.Inspect(t.Context(), "goes", false)
		return fault.Is(err, fault.NotFound)
	})
	after, err := b.containers.Inspect(t.Context(), "stays", false)
	if err != nil || !after.State.Running || after.State.Pid != before.State.Pid || after.State.StartedAt != before.State.StartedAt ||
		after.NetworkSettings.Networks["bridge"].IPAddress != before.NetworkSettings.Networks["bridge"].IPAddress {
		t.Errorf("%+v %+v, %v", after.State, after.NetworkSettings, err)
	}
	id, err := b.containers.ExecCreate(t.Context(), "stays", apicontainer.ExecCreateRequest{Cmd: []string{"sh", "-c", "exit 5"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.containers.ExecStart(t.Context(), id, container.ExecStartOptions{Detach: true}, nil); err != nil {
		t.Fatal(err)
	}
	eventually.True(b.t, "the exec ends", func() bool {
		x, err := b.containers.ExecInspect(t.Context(), id)
		return err == nil && x.ExitCode != nil && *x.ExitCode == 5
	})
	zero := 0
	if err := b.containers.Stop(t.Context(), "stays", "", &zero); err != nil {
		t.Error(err)
	}
	b.start("stays") // its second generation
	b.remove("stays")
	b.remove("ends")
}

// TestRestoreLeavesTheUnreadable: a container whose record cannot be read, as another
// version's, goes on, and is there with what it had when an engine comes that can.
func TestRestoreLeavesTheUnreadable(t *testing.T) {
	b := newBed(t)
	id := b.create("con", nil, "sleep", "1000")
	b.start("con")
	before, _ := b.containers.Inspect(t.Context(), "con", false)
	b.down()
	path := filepath.Join(b.o.DataRoot, "containers", id, "record.json")
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.up()
	b.create("other", nil, "sleep", "1000")
	b.start("other")
	other, _ := b.containers.Inspect(t.Context(), "other", false)
	if ip := other.NetworkSettings.Networks["bridge"].IPAddress; ip == before.NetworkSettings.Networks["bridge"].IPAddress {
		t.Errorf("both have %s", ip)
	}
	b.remove("other")
	// What it stands on and mounts is not known: all images' layers and volumes stay.
	b.create("third", nil, "true")
	third, _ := b.containers.Inspect(t.Context(), "third", false)
	layers := b.layers()
	b.remove("third")
	if _, err := b.images.Remove(t.Context(), third.Image, server.ImageRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if now := b.layers(); now != layers {
		t.Errorf("of %d layers there are %d", layers, now)
	}
	if _, err := (volumes{b.volumes, b.bus, b.containers.Strangers}).Prune(t.Context(), nil); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), id) {
		t.Errorf("volumes are pruned: %v", err)
	}
	b.down()
	if err := os.WriteFile(path, record, 0o600); err != nil {
		t.Fatal(err)
	}
	b.up()
	after, err := b.containers.Inspect(t.Context(), "con", false)
	if err != nil || !after.State.Running || after.State.Pid != before.State.Pid ||
		after.NetworkSettings.Networks["bridge"].IPAddress != before.NetworkSettings.Networks["bridge"].IPAddress {
		t.Errorf("%+v %+v, %v", after.State, after.NetworkSettings, err)
	}
	b.remove("con")
}

// layers counts the unpacked layers of images that are there after a collection.
func (b *bed) layers() (n int) {
	b.t.Helper()
	p := b.images.store.Parts()
	ctx := namespaces.WithNamespace(b.t.Context(), p.Namespace)
	_, err := p.Collect(ctx)
	if err == nil {
		err = p.Snapshots.Walk(ctx, func(context.Context, snapshots.Info) error { n++; return nil })
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// TestRestoreCleansTheHalfMade leaves what a crash at each point of a create, start
// and remove leaves, and lets the next engine find it.
func TestRestoreCleansTheHalfMade(t *testing.T) {
	b := newBed(t)
	b.create("whole", nil, "true")
	lost, gone := b.create("lost", nil, "true"), b.create("gone", &apicontainer.HostConfig{AutoRemove: true}, "true")
	noLayer := b.create("nolayer", nil, "true")
	b.down()

	// A create that had made directory and layer, one that had made the layer only.
	half, layer := strings.Repeat("a", 64), strings.Repeat("b", 64)
	mkdir := func(parts ...string) {
		if err := os.MkdirAll(filepath.Join(parts...), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(b.o.DataRoot, "containers", half)
	mkdir(b.o.DataRoot, "layers", half, "upper")
	mkdir(b.o.DataRoot, "layers", layer, "upper")
	// Starts that the machine's end cut short: the exec root says that they run.
	for _, id := range []string{lost, gone} {
		j, _ := json.Marshal(map[string]any{"version": 1, "id": id, "generation": 1, "pid": 4000000, "cgroup": b.o.CgroupParent + "/" + id})
		if err := os.WriteFile(filepath.Join(b.o.ExecRoot, "containers", id+".json"), j, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A removal that had removed the layer.
	if err := os.RemoveAll(filepath.Join(b.o.DataRoot, "layers", noLayer)); err != nil {
		t.Fatal(err)
	}
	b.up()
	for _, path := range []string{"containers/" + half, "layers/" + half, "layers/" + layer, "containers/" + gone, "layers/" + gone} {
		eventually.True(b.t, path+" is gone", func() bool { return !exists(filepath.Join(b.o.DataRoot, path)) })
	}
	if s := b.state("lost"); s.Status != "exited" || s.ExitCode != 255 || s.Error == "" {
		t.Errorf("lost: %+v", s)
	}
	if s := b.state("whole"); s.Status != "created" {
		t.Errorf("whole: %+v", s)
	}
	b.start("lost")
	eventually.True(b.t, "it runs again", func() bool { s := b.state("lost"); return s.Status == "exited" && s.ExitCode == 0 })
	for _, ref := range []string{"whole", "lost", "nolayer"} {
		b.remove(ref)
	}
	entries, _ := os.ReadDir(filepath.Join(b.o.DataRoot, "layers"))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			eventually.True(b.t, "layer "+e.Name()+" is gone", func() bool { return !exists(filepath.Join(b.o.DataRoot, "layers", e.Name())) })
		}
	}
}
