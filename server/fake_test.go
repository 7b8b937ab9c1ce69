package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/reference"
	apibuild "github.com/moby/moby/api/types/build"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	apinetwork "github.com/moby/moby/api/types/network"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/build"
	"hoy/container"
	"hoy/lib/diskuse"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/lib/reach"
)

// backend stands for the engine: the wire is what is tested here. A nil
// function answers "no such container".
type backend struct {
	published [2]apinetwork.PortMap
	transfer  func(what string, named reference.Named, o ImageTransferOptions, say Progress) error
	create    func(container.CreateRequest) (apicontainer.CreateResponse, error)
	start     func(ctx context.Context, ref string) error
	stats     func(o container.StatsOptions, send func(*apicontainer.StatsResponse) error) error
	update    func(h *apicontainer.HostConfig) (apicontainer.UpdateResponse, error)
	stop      func(ref, signal string, timeout *int) error
	remove    func(ref string, o container.RemoveOptions) error
	wait      func(ref string, c apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error)
	list      func(container.ListOptions) ([]apicontainer.Summary, error)
	logs      func(ctx context.Context, o container.LogOptions, w container.LogSink) error
	attach    func(o container.AttachOptions, hijack container.Hijack) error
	exec      func(o container.ExecStartOptions, hijack container.Hijack) error
	resize    func(rows, cols uint16) error
	commit    func(container.CommitRequest) (string, error)
	save      func(refs []string, platforms []ocispec.Platform, w io.Writer) error
	extract   func(o container.ExtractOptions, r io.Reader) error
	events    func(ctx context.Context, since, until time.Time, f filters.Filters) ([]events.Message, <-chan events.Message, error)
	load      func(r io.Reader, o ImageLoadOptions, say Progress) error
	imp       func(r io.Reader, o ImageImportOptions) (string, error)
	login     func(a apiregistry.AuthConfig) (string, error)
	search    func(o SearchOptions) ([]apiregistry.SearchResult, error)
	build     func(context.Context, build.Request) (*build.Result, error)
	classic   func(context.Context, build.Request, build.Classic) (*build.Result, error)
	uploaded  string
	pruned    build.PruneOptions
	remote    func(ref string, a apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error)
}

var errAbsent = fault.New(fault.NotFound, "No such container: x")

func (b *backend) Create(_ context.Context, r container.CreateRequest) (apicontainer.CreateResponse, error) {
	if b.create == nil {
		return apicontainer.CreateResponse{ID: "1"}, nil
	}
	return b.create(r)
}

func (b *backend) Start(ctx context.Context, ref string) error {
	if b.start == nil {
		return errAbsent
	}
	return b.start(ctx, ref)
}

func (b *backend) Stop(_ context.Context, ref, signal string, timeout *int) error {
	return b.stop(ref, signal, timeout)
}
func (b *backend) Restart(_ context.Context, ref, signal string, timeout *int) error {
	if b.stop == nil {
		return errAbsent
	}
	return b.stop(ref, signal, timeout)
}
func (b *backend) Pause(context.Context, string) error          { return errAbsent }
func (b *backend) Unpause(context.Context, string) error        { return errAbsent }
func (b *backend) Rename(context.Context, string, string) error { return errAbsent }
func (b *backend) Prune(context.Context, filters.Filters) (*apicontainer.PruneReport, error) {
	return &apicontainer.PruneReport{}, nil
}
func (b *backend) Top(context.Context, string, string) (*apicontainer.TopResponse, error) {
	return nil, errAbsent
}
func (b *backend) Stats(_ context.Context, _ string, o container.StatsOptions, send func(*apicontainer.StatsResponse) error) error {
	if b.stats == nil {
		return errAbsent
	}
	return b.stats(o, send)
}
func (b *backend) Publish(_ context.Context, _ string, add, remove apinetwork.PortMap) error {
	b.published = [2]apinetwork.PortMap{add, remove}
	return nil
}

func (b *backend) Update(_ context.Context, _ string, h *apicontainer.HostConfig) (apicontainer.UpdateResponse, error) {
	if b.update == nil {
		return apicontainer.UpdateResponse{}, errAbsent
	}
	return b.update(h)
}
func (b *backend) Kill(context.Context, string, string) error { return errAbsent }
func (b *backend) Remove(_ context.Context, ref string, o container.RemoveOptions) error {
	return b.remove(ref, o)
}
func (b *backend) Wait(_ context.Context, ref string, c apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error) {
	return b.wait(ref, c)
}
func (b *backend) List(_ context.Context, o container.ListOptions) ([]apicontainer.Summary, error) {
	if b.list == nil {
		return nil, nil
	}
	return b.list(o)
}
func (b *backend) LogDelivery(string) *container.LogDelivery { return nil }
func (b *backend) AskedMAC(string) string                    { return "" }
func (b *backend) Inspect(_ context.Context, ref string, _ bool) (*apicontainer.InspectResponse, error) {
	if ref != "c1" {
		return nil, errAbsent
	}
	mac := apinetwork.HardwareAddr{2, 0, 0, 0, 0, 1}
	return &apicontainer.InspectResponse{
		ID: "c1", Config: &apicontainer.Config{}, HostConfig: &apicontainer.HostConfig{},
		NetworkSettings: &apicontainer.NetworkSettings{Networks: map[string]*apinetwork.EndpointSettings{"bridge": {EndpointID: "e1", MacAddress: mac}}},
	}, nil
}
func (b *backend) Logs(ctx context.Context, _ string, o container.LogOptions, w container.LogSink) error {
	return b.logs(ctx, o, w)
}
func (b *backend) Attach(_ context.Context, _ string, o container.AttachOptions, h container.Hijack) error {
	return b.attach(o, h)
}
func (b *backend) Resize(_ context.Context, _ string, rows, cols uint16) error {
	return b.resize(rows, cols)
}
func (b *backend) Commit(_ context.Context, r container.CommitRequest) (string, error) {
	return b.commit(r)
}
func (b *backend) Changes(context.Context, string) ([]apicontainer.FilesystemChange, error) {
	return nil, errAbsent
}
func (b *backend) StatPath(_ context.Context, _, path string) (*apicontainer.PathStat, error) {
	return &apicontainer.PathStat{Name: path, Mode: 0o644, LinkTarget: "/to"}, nil
}
func (b *backend) Archive(context.Context, string, string) (*container.Archive, error) {
	return nil, errAbsent
}
func (b *backend) Export(context.Context, string) (*container.Archive, error) { return nil, errAbsent }
func (b *backend) Extract(_ context.Context, _ string, o container.ExtractOptions, r io.Reader) error {
	return b.extract(o, r)
}
func (b *backend) ExecCreate(context.Context, string, apicontainer.ExecCreateRequest) (string, error) {
	return "e1", nil
}
func (b *backend) ExecStart(_ context.Context, _ string, o container.ExecStartOptions, h container.Hijack) error {
	return b.exec(o, h)
}
func (b *backend) ExecInspect(context.Context, string) (*apicontainer.ExecInspectResponse, error) {
	return &apicontainer.ExecInspectResponse{ID: "e1"}, nil
}
func (b *backend) ExecResize(_ context.Context, _ string, rows, cols uint16) error {
	return b.resize(rows, cols)
}

type images struct{ *backend }

func (images) List(context.Context, ImageListOptions) ([]apiimage.Summary, error) {
	return []apiimage.Summary{{ID: "sha256:1", RepoTags: []string{"a:b"}}}, nil
}
func (images) Inspect(_ context.Context, ref string, _ ImageInspectOptions) (*ImageDetails, error) {
	return &ImageDetails{InspectResponse: apiimage.InspectResponse{ID: ref}}, nil
}
func (images) History(context.Context, string, *ocispec.Platform) ([]apiimage.HistoryResponseItem, error) {
	return nil, errAbsent
}
func (images) Attestations(context.Context, string, AttestationOptions) ([]apiimage.AttestationStatement, error) {
	return []apiimage.AttestationStatement{}, nil
}
func (i images) Save(_ context.Context, refs []string, p []ocispec.Platform, w io.Writer) error {
	return i.save(refs, p, w)
}
func (images) Prune(context.Context, filters.Filters) (*apiimage.PruneReport, error) {
	return &apiimage.PruneReport{}, nil
}
func (images) Remove(context.Context, string, ImageRemoveOptions) ([]apiimage.DeleteResponse, error) {
	return nil, nil
}
func (i images) Load(_ context.Context, r io.Reader, o ImageLoadOptions, say Progress) error {
	return i.load(r, o, say)
}
func (i images) Import(_ context.Context, r io.Reader, o ImageImportOptions) (string, error) {
	return i.imp(r, o)
}
func (images) Tag(context.Context, string, string) error { return nil }
func (i images) Pull(_ context.Context, named reference.Named, o ImageTransferOptions, say Progress) error {
	return i.transfer("pull", named, o, say)
}
func (i images) Push(_ context.Context, named reference.Named, o ImageTransferOptions, say Progress) error {
	return i.transfer("push", named, o, say)
}

type volumes struct{}

func (volumes) Create(_ context.Context, r apivolume.CreateRequest) (*apivolume.Volume, error) {
	return &apivolume.Volume{Name: r.Name}, nil
}
func (volumes) List(context.Context, filters.Filters) (apivolume.ListResponse, error) {
	return apivolume.ListResponse{}, nil
}
func (volumes) Inspect(_ context.Context, name string) (*apivolume.Volume, error) {
	return nil, fault.New(fault.NotFound, "get %s: no such volume", name)
}
func (volumes) Remove(context.Context, string, bool) error { return nil }
func (volumes) Clone(_ context.Context, _ string, r apivolume.CreateRequest) (*apivolume.Volume, error) {
	return &apivolume.Volume{Name: r.Name, Labels: r.Labels}, nil
}
func (volumes) Rename(context.Context, string, string) error    { return nil }
func (volumes) Export(context.Context, string, io.Writer) error { return nil }
func (volumes) Import(_ context.Context, r apivolume.CreateRequest, _ io.Reader) (*apivolume.Volume, error) {
	return &apivolume.Volume{Name: r.Name, Labels: r.Labels, Options: r.DriverOpts}, nil
}

func (volumes) Prune(_ context.Context, f filters.Filters) (*apivolume.PruneReport, error) {
	return &apivolume.PruneReport{VolumesDeleted: f.Get("all")}, nil
}

type networks struct{}

func (networks) List(context.Context, filters.Filters) ([]apinetwork.Summary, error) { return nil, nil }
func (networks) Inspect(_ context.Context, ref string) (*apinetwork.Inspect, error) {
	return nil, fault.New(fault.NotFound, "network %s not found", ref)
}
func (networks) Create(_ context.Context, r apinetwork.CreateRequest) (*apinetwork.CreateResponse, error) {
	return &apinetwork.CreateResponse{ID: "id of " + r.Name}, nil
}
func (networks) Remove(_ context.Context, ref string) error {
	return fault.New(fault.NotFound, "network %s not found", ref)
}
func (networks) Prune(context.Context, filters.Filters) (*apinetwork.PruneReport, error) {
	return &apinetwork.PruneReport{}, nil
}
func (networks) Connect(_ context.Context, ref string, r apinetwork.ConnectRequest) error {
	if r.EndpointConfig != nil && r.EndpointConfig.MacAddress != nil {
		return fault.New(fault.Invalid, "connect %s to %s as %s", r.Container, ref, r.EndpointConfig.MacAddress)
	}
	return nil
}
func (networks) Reach(_ context.Context, ref string) ([]reach.Port, error) {
	return []reach.Port{{Proto: "tcp", Answers: []reach.Answer{{Who: "the peers of " + ref, Reach: true}}}}, nil
}
func (networks) Disconnect(_ context.Context, ref string, r apinetwork.DisconnectRequest) error {
	return fault.New(fault.Conflict, "disconnect %s from %s, force %v", r.Container, ref, r.Force)
}

type engine struct{ *backend }

func (engine) Info(context.Context) (*system.Info, error) {
	return &system.Info{Name: "here", ServerVersion: "0.1", OSType: "linux", CgroupDriver: "none", NCPU: 2}, nil
}
func (engine) Version(context.Context) (system.VersionResponse, error) {
	return system.VersionResponse{Version: "0.1", APIVersion: "1.56", MinAPIVersion: "1.40", Os: "linux", Arch: "amd64"}, nil
}
func (engine) DiskUsage(_ context.Context, o DiskUsageOptions) (*system.DiskUsage, error) {
	u := &system.DiskUsage{}
	if o.Images {
		u.ImageUsage = &apiimage.DiskUsage{TotalCount: 1, TotalSize: 7, Items: []apiimage.Summary{{ID: "i1"}}}
	}
	if o.Volumes {
		u.VolumeUsage = &apivolume.DiskUsage{}
	}
	return u, nil
}
func (engine) Disk(context.Context) (*diskuse.Report, error) {
	return &diskuse.Report{Root: "/data", Size: 7, Lines: []diskuse.Line{{Kind: diskuse.Blobs, Count: 1, Size: 7}}}, nil
}
func (e engine) Events(ctx context.Context, since, until time.Time, f filters.Filters) ([]events.Message, <-chan events.Message, error) {
	return e.events(ctx, since, until, f)
}

// registries stands for registries.
type registries struct{ *backend }

func (r registries) Login(_ context.Context, a apiregistry.AuthConfig) (string, error) {
	return r.login(a)
}
func (r registries) Search(_ context.Context, o SearchOptions) ([]apiregistry.SearchResult, error) {
	return r.search(o)
}
func (r registries) Inspect(_ context.Context, ref string, a apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error) {
	return r.remote(ref, a)
}

// builder stands for the builder.
type builder struct{ *backend }

func (b builder) Build(ctx context.Context, r build.Request) (*build.Result, error) {
	if b.build == nil {
		return &build.Result{}, nil
	}
	return b.build(ctx, r)
}
func (b builder) Classic(ctx context.Context, r build.Request, c build.Classic) (*build.Result, error) {
	if b.classic == nil {
		return &build.Result{}, nil
	}
	return b.classic(ctx, r, c)
}
func (b builder) Inspect(ctx context.Context, r build.Request, method string) (*build.Result, error) {
	return &build.Result{Attrs: map[string]string{build.AttrText: method}}, nil
}
func (b builder) Upload(_ context.Context, id string, r io.Reader) error {
	text, _ := io.ReadAll(r)
	b.uploaded = id + ": " + string(text)
	return nil
}
func (b builder) Cancel(id string) { b.uploaded = "cancelled " + id }
func (b builder) Prune(_ context.Context, o build.PruneOptions) (*apibuild.CachePruneReport, error) {
	b.pruned = o
	return &apibuild.CachePruneReport{CachesDeleted: []string{"a"}, SpaceReclaimed: 3}, nil
}
func (b builder) DiskUsage(context.Context, bool) (*apibuild.DiskUsage, error) {
	return &apibuild.DiskUsage{TotalCount: 1, TotalSize: 5, Items: []apibuild.CacheRecord{{ID: "a", Size: 5}}}, nil
}
func (b builder) ServeControl(_ context.Context, c net.Conn) error {
	_, err := io.WriteString(c, "control")
	return err
}
func (b builder) ServeSession(_ context.Context, c net.Conn, header map[string][]string) error {
	_, err := io.Copy(c, io.LimitReader(c, 4))
	return err
}
func (b builder) ServeHTTP(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }

// serve runs a server with backend b on a unix socket and returns the socket's path.
func serve(t *testing.T, b *backend) (socket string, s *Server) {
	t.Helper()
	s = New(Options{Containers: b, Images: images{b}, Builds: builder{b}, Volumes: volumes{}, Networks: networks{}, Registries: registries{b}, System: engine{b}, Version: "0.1"})
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return socket, s
}

// docker is moby's own client.
func docker(t *testing.T, socket string) *client.Client {
	t.Helper()
	c, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// call sends one plain request and reads the whole answer.
func call(t *testing.T, socket, method, path string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://engine"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// said is a message of a long operation.
func said(text string) jsonstream.Message { return jsonstream.Message{Stream: text} }

// Manifest gives back what it was asked with, as text.
func (registries) Manifest(_ context.Context, ref string, o ManifestOptions) (*Manifest, error) {
	return &Manifest{ocispec.Descriptor{MediaType: ref}, fmt.Appendf(nil, "%s %t", o.Auth.Username, o.Insecure)}, nil
}

func (registries) PutManifest(_ context.Context, ref string, m Manifest, o ManifestOptions) (*ocispec.Descriptor, error) {
	return &ocispec.Descriptor{MediaType: m.Descriptor.MediaType, URLs: []string{ref, o.From, string(m.Raw)}}, nil
}
