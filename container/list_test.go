package container

import (
	"context"
	"strings"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/lib/filters"
)

// namedImages are image ids by name.
type namedImages struct {
	Images
	ids map[string]string
}

func (n namedImages) Get(_ context.Context, ref string) (*image.Image, error) {
	if n.ids[ref] == "" {
		return nil, fault.New(fault.NotFound, "No such image: %s", ref)
	}
	return &image.Image{ID: n.ids[ref]}, nil
}

// TestListImage shows the name that a container was made from while it is its image's.
func TestListImage(t *testing.T) {
	c := &Containers{index: newIndex()}
	c.o.Images = namedImages{ids: map[string]string{"img": "sha256:1"}}
	for _, tc := range []struct{ name, id, want string }{
		{"img", "sha256:1", "img"},
		{"img", "sha256:2", "sha256:2"}, // the name is another's now
		{"gone", "sha256:1", "sha256:1"},
	} {
		r := &record{Config: &apicontainer.Config{Image: tc.name}, Image: imageRecord{ID: tc.id}}
		if got := c.imageNames(t.Context())(r); got != tc.want {
			t.Errorf("%s of %s: %s, want %s", tc.name, tc.id, got, tc.want)
		}
	}
}

// listed has three containers: old (exited with 3), mid (running), new (created).
func listed() *Containers {
	now := time.Now()
	c := &Containers{index: newIndex()}
	c.o.Images = namedImages{ids: map[string]string{"img": "sha256:1"}}
	for i, r := range []*record{
		{ID: "aaa", Name: "old", State: state{Status: "exited", ExitCode: 3}},
		{ID: "bbb", Name: "mid", State: state{Status: "running"}},
		{ID: "ccc", Name: "new", State: state{Status: "created"}},
	} {
		r.Created = now.Add(time.Duration(i) * time.Second)
		r.Host = &apicontainer.HostConfig{NetworkMode: "bridge"}
		r.Config = &apicontainer.Config{Cmd: []string{"x"}, Labels: map[string]string{"n": r.Name}, ExposedPorts: network.PortSet{}}
		c.index.reserve(r.Name, r.ID)
		c.index.add(newContainer(r))
	}
	k, _ := c.index.get("new")
	k.rec().Mounts = []mountPoint{{MountPoint: apicontainer.MountPoint{Type: mount.TypeVolume, Name: "vol", Destination: "/data"}}}
	k.rec().Host.NetworkMode = "none"
	k.rec().Endpoints = map[string]*network.EndpointSettings{"none": {}}
	k, _ = c.index.get("mid")
	k.rec().Config.ExposedPorts[network.MustParsePort("80/tcp")] = struct{}{}
	return c
}

func TestListFilters(t *testing.T) {
	c := listed()
	for _, tc := range []struct {
		what string
		o    ListOptions
		want string
	}{
		{"running", ListOptions{}, "mid"},
		{"all, newest first", ListOptions{All: true}, "new mid old"},
		{"limit counts all", ListOptions{Limit: 2}, "new mid"},
		{"limit after filters", ListOptions{Limit: 1, Filters: filters.Filters{"exited": {"3"}}}, "old"},
		{"status means all", ListOptions{Filters: filters.Filters{"status": {"created", "exited"}}}, "new old"},
		{"exited", ListOptions{Filters: filters.Filters{"exited": {"0"}}}, ""},
		{"name is an expression", ListOptions{All: true, Filters: filters.Filters{"name": {"^/?(old|new)$"}}}, "new old"},
		{"name with slash", ListOptions{All: true, Filters: filters.Filters{"name": {"^/old$"}}}, "old"},
		{"id", ListOptions{All: true, Filters: filters.Filters{"id": {"a", "b"}}}, "mid old"},
		{"id and name", ListOptions{All: true, Filters: filters.Filters{"id": {"a"}, "name": {"mid"}}}, ""},
		{"label", ListOptions{All: true, Filters: filters.Filters{"label": {"n=old"}}}, "old"},
		{"before", ListOptions{Filters: filters.Filters{"before": {"mid"}}}, "old"},
		{"since", ListOptions{Filters: filters.Filters{"since": {"mid"}}}, "new"},
		{"volume by name", ListOptions{All: true, Filters: filters.Filters{"volume": {"vol"}}}, "new"},
		{"volume by place", ListOptions{All: true, Filters: filters.Filters{"volume": {"/data"}}}, "new"},
		{"network", ListOptions{All: true, Filters: filters.Filters{"network": {"none"}}}, "new"},
		{"expose", ListOptions{All: true, Filters: filters.Filters{"expose": {"79-81/tcp"}}}, "mid"},
		{"publish", ListOptions{All: true, Filters: filters.Filters{"publish": {"80"}}}, ""},
		{"health", ListOptions{All: true, Filters: filters.Filters{"health": {"none"}}}, "new mid old"},
		{"tasks", ListOptions{All: true, Filters: filters.Filters{"is-task": {"true"}}}, ""},
	} {
		l, err := c.List(t.Context(), tc.o)
		var names []string
		for _, s := range l {
			names = append(names, s.Names[0][1:])
		}
		if got := strings.Join(names, " "); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.what, got, err, tc.want)
		}
	}
	for _, bad := range []filters.Filters{
		{"exited": {"x"}}, {"status": {"x"}}, {"health": {"x"}}, {"is-task": {"x"}}, {"publish": {"1:2"}}, {"expose": {"x"}},
	} {
		if _, err := c.List(t.Context(), ListOptions{Filters: bad}); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	if _, err := c.List(t.Context(), ListOptions{Filters: filters.Filters{"before": {"nobody"}}}); !fault.Is(err, fault.NotFound) {
		t.Errorf("before nobody: %v", err)
	}
}

func TestStatus(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		s    state
		want string
	}{
		{state{Status: "created"}, "Created"},
		{state{Status: "running", StartedAt: now.Add(-2 * time.Minute)}, "Up 2 minutes"},
		{state{Status: "running", StartedAt: now}, "Up Less than a second"},
		{state{Status: "exited", FinishedAt: now.Add(-3 * time.Second)}, "Exited (0) 3 seconds ago"},
		{state{Status: "exited", ExitCode: 137, FinishedAt: now.Add(-49 * time.Hour)}, "Exited (137) 2 days ago"},
		{state{Status: "restarting", ExitCode: 2, FinishedAt: now.Add(-3 * time.Second)}, "Restarting (2) 3 seconds ago"},
		{state{Status: "dead"}, "Dead"},
	} {
		if got := (&record{State: tc.s}).status(now); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.s.Status, got, tc.want)
		}
	}
	if got := timestamp(time.Time{}); got != "0001-01-01T00:00:00Z" {
		t.Error(got)
	}
}
