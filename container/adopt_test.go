package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"

	"hoy/keeper"
	"hoy/linux/cgroup"
	"hoy/network"
	"hoy/shim"
)

// heldBefore is a keeper with what an earlier engine has started.
type heldBefore struct {
	Keeper
	held  []keeper.Held
	asked int
	ends  int // the list that first says that all has ended; 0: none does
}

func (h *heldBefore) List(context.Context) ([]keeper.Held, error) {
	if h.asked++; h.ends > 0 && h.asked >= h.ends {
		for i := range h.held {
			h.held[i].Exit = &keeper.Exit{}
		}
	}
	return h.held, nil
}

// noVolumes has none to tidy up.
type noVolumes struct{ Volumes }

func (noVolumes) Tidy() {}

// adopting is newly started, with one container and what the keeper holds of it.
func adopting(t *testing.T, rec *record, h *heldBefore) (*Containers, *Container) {
	groups, err := cgroup.Open("")
	if err != nil {
		t.Skip("containers are adopted by their cgroups, and there are none here: ", err)
	}
	t.Cleanup(func() { groups.Close() })
	c, _ := saved(t, false)
	c.log, c.o.Keeper, c.o.Volumes, c.o.Cgroups, c.o.CgroupParent = discard(), h, noVolumes{}, groups, "/hoy-of-no-engine"
	for _, dir := range []string{"containers", "execs"} {
		if err := os.Mkdir(filepath.Join(c.o.ExecRoot, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	k := newContainer(rec)
	c.index.add(k)
	return c, k
}

// TestStartThatWasNotRecorded: the next start of the container is another one for the keeper,
// which has seen the end of the first.
func TestStartThatWasNotRecorded(t *testing.T) {
	_, rec := saved(t, false)
	h := &heldBefore{held: []keeper.Held{{Process: keeper.Process{ID: rec.ID, Generation: rec.State.Generation + 1}}}, ends: 4}
	c, k := adopting(t, rec, h)
	if err := c.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := k.rec().State.Generation, h.held[0].Generation; got != want {
		t.Errorf("the container has had %d starts, want %d", got, want)
	}
	if h.asked < h.ends {
		t.Error("it is still running for the keeper")
	}
}

// TestStartedAfterItsRecord: an engine that was killed before it had saved that a container
// was started. What the record says of the run before holds no more.
func TestStartedAfterItsRecord(t *testing.T) {
	old := supervision{Restarts: 3, Stopped: true, Ailing: true, Health: &apicontainer.Health{Status: statusHealthy}}
	for _, tc := range []struct {
		status     apicontainer.ContainerState
		generation uint64 // of the record; the run's is 4
		want       supervision
	}{
		{"exited", 3, supervision{}},
		{"restarting", 3, supervision{Restarts: 3, Stopped: true}}, // it was its policy that started it
		{"running", 4, old},
	} {
		_, rec := saved(t, false)
		rec.State.Status, rec.State.Generation, rec.Supervision, rec.Mounts = tc.status, tc.generation, old, nil
		h := &heldBefore{held: []keeper.Held{{Process: keeper.Process{ID: rec.ID, Generation: 4}}}}
		c, k := adopting(t, rec, h)
		if err := writeJSON(c.runningPath(rec.ID), &running{Version: recordVersion, ID: rec.ID, Generation: 4, Cgroup: c.o.CgroupParent + "/abc"}); err != nil {
			t.Fatal(err)
		}
		if err := c.adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := k.rec(); !reflect.DeepEqual(got.Supervision, tc.want) || got.State.Generation != 4 || k.process == nil {
			t.Errorf("%s: %+v, want %+v", tc.status, got.Supervision, tc.want)
		}
		if onDisk, err := loadRecord(c.recordPath(rec.ID)); tc.generation != 4 && (err != nil || onDisk.State.Generation != 4) {
			t.Errorf("%s: not saved: %v", tc.status, err)
		}
	}
}

// TestPausedByItsRuntime: a runtime that pauses in a way of its own is asked by the next engine,
// if its container was paused at all.
func TestPausedByItsRuntime(t *testing.T) {
	for _, tc := range []struct {
		noted bool
		code  int
		want  apicontainer.ContainerState
	}{{true, 0, "paused"}, {true, shim.CodeRuns, "running"}, {true, shim.CodeGone, "running"}, {false, 0, "running"}} {
		_, rec := saved(t, false)
		rec.State.Status, rec.State.Generation, rec.Mounts = "running", 4, nil
		h := &heldBefore{held: []keeper.Held{{Process: keeper.Process{ID: rec.ID, Generation: 4}}}}
		c, k := adopting(t, rec, h)
		c.o.Shim = shim.Program(filepath.Join(t.TempDir(), "hoy-shim"))
		if err := os.WriteFile(string(c.o.Shim), fmt.Appendf(nil, "#!/bin/sh\n[ $1 = paused ] && exit %d\nexit 1\n", tc.code), 0o700); err != nil {
			t.Fatal(err)
		}
		bundle := c.taskOf(rec.ID).bundle
		if err := bundle.Make(&shim.Task{}, nil); err != nil {
			t.Fatal(err)
		}
		if tc.noted {
			if err := bundle.Write("paused", true); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeJSON(c.runningPath(rec.ID), &running{Version: recordVersion, ID: rec.ID, Generation: 4, Task: true, Cgroup: c.o.CgroupParent + "/abc"}); err != nil {
			t.Fatal(err)
		}
		if err := c.adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := k.rec().State.Status; got != tc.want {
			t.Errorf("noted %v, code %d: %s, want %s", tc.noted, tc.code, got, tc.want)
		}
	}
}

// TestChangedSinceItsRecord: what a running container's networks were asked last holds,
// whether the engine that was killed had saved it or not.
func TestChangedSinceItsRecord(t *testing.T) {
	_, rec := saved(t, false)
	rec.State.Status, rec.State.Generation, rec.Mounts = "running", 4, nil
	rec.Endpoints = map[string]*apinetwork.EndpointSettings{"front": {}}
	h := &heldBefore{held: []keeper.Held{{Process: keeper.Process{ID: rec.ID, Generation: 4}}}}
	c, k := adopting(t, rec, h)
	want := &asked{
		Endpoints: map[string]*apinetwork.EndpointSettings{"front": {}, "back": {Aliases: []string{"db"}}},
		Ports:     apinetwork.PortMap{apinetwork.MustParsePort("80/tcp"): {{HostPort: "8080"}}},
	}
	if err := writeJSON(c.runningPath(rec.ID), &running{Version: recordVersion, ID: rec.ID, Generation: 4, Cgroup: c.o.CgroupParent + "/abc", Asked: want}); err != nil {
		t.Fatal(err)
	}
	if err := c.adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	onDisk, err := loadRecord(c.recordPath(rec.ID))
	if err != nil {
		t.Fatal(err)
	}
	for where, r := range map[string]*record{"in memory": k.rec(), "on disk": onDisk} {
		if got := (&asked{r.Endpoints, r.Host.PortBindings}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", where, got, want)
		}
	}
}

// TestRenamedSinceItsStart: the networks of the next engine know a container by its new name.
func TestRenamedSinceItsStart(t *testing.T) {
	r := web()
	r.Name, r.Endpoints = "shop", map[string]*apinetwork.EndpointSettings{"front": {Aliases: []string{"a"}}, "bridge": {}}
	s := &network.Sandbox{Endpoints: []network.Endpoint{{Network: "front", Names: []string{"web", "a"}}, {Network: "bridge"}}}
	r.rename(s)
	if got, want := s.Endpoints[0].Names, []string{"shop", "a", "abcdef012345", "www"}; !reflect.DeepEqual(got, want) {
		t.Errorf("known as %v, want %v", got, want)
	}
	if s.Endpoints[1].Names != nil {
		t.Errorf("on a network without names known as %v", s.Endpoints[1].Names)
	}
}
