package build

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/client"
	"github.com/tonistiigi/fsutil"

	"hoy/container/spec"
	"hoy/image"
	"hoy/keeper"
	"hoy/lib/cleanup"
	"hoy/linux/cgroup"
	"hoy/linux/idmap"
	"hoy/network"
	"hoy/network/firewall"
	"hoy/runtime"
	"hoy/test/busybox"
	"hoy/test/keeperbin"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) {
	code := rootful.Main(m)
	keeperbin.Remove()
	os.Exit(code)
}

// keeperProgram is the keeper's, of this process or of the test that it is part of.
func keeperProgram(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("HOY_BUILD_KEEPER"); p != "" {
		return p
	}
	return keeperbin.Path(t)
}

// bench is a builder with all it stands on.
type bench struct {
	t     testing.TB
	dir   string
	users *idmap.Map // nil: the host's
	hosts docker.RegistryHosts
	store *image.Store
	b     *Builder
	c     *client.Client
	parts cleanup.Stack
}

func newBench(t testing.TB) *bench { return newBenchFor(t, nil) }

func newBenchFor(t testing.TB, users *idmap.Map) *bench {
	rootful.Check(t)
	h := &bench{t: t, dir: t.TempDir(), users: users}
	h.open()
	t.Cleanup(h.close)
	return h
}

// inBothModes runs a test with the host's users and with a user namespace.
func inBothModes(t *testing.T, f func(t *testing.T, h *bench)) {
	t.Run("host user", func(t *testing.T) { f(t, newBench(t)) })
	t.Run("user namespace", func(t *testing.T) {
		r := []idmap.Range{{Inside: 0, Outside: 100000, Size: 65536}}
		f(t, newBenchFor(t, &idmap.Map{UIDs: r, GIDs: r}))
	})
}

// keep has v closed at the end.
func keep[T any](h *bench, v T, err error, end func(T)) T {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	h.parts.Add(func() { end(v) })
	return v
}

func (h *bench) ended(err error) {
	if err != nil {
		h.t.Error(err)
	}
}

func (h *bench) open() {
	h.t.Helper()
	ctx := context.Background()
	groups, err := cgroup.Open("")
	keep(h, groups, err, func(g *cgroup.Host) { h.ended(g.Close()) })
	const parent = "/hoy-build-test"
	h.parts.Add(func() { h.ended(groups.Load(parent).Remove()) })
	run, err := runtime.New(runtime.Config{Cgroups: groups})
	keep(h, run, err, (*runtime.Runtime).Close)
	kept, err := keeper.Start(ctx, keeper.Options{Exec: keeperProgram(h.t), ExecRoot: h.execRoot()})
	keep(h, kept, err, func(k *keeper.Client) { h.ended(k.Close()) })
	store, err := image.Open(ctx, image.Options{Root: filepath.Join(h.dir, "image")})
	h.store = keep(h, store, err, func(s *image.Store) { h.ended(s.Close()) })
	h.store.Collect(nil)
	rules, err := firewall.Open(firewall.Options{Table: "hoy-hoybuild0"})
	if err != nil {
		h.t.Fatal(err)
	}
	nets, err := network.Open(ctx, network.Options{
		Root: filepath.Join(h.dir, "network"), Firewall: rules, Keeper: kept, Bridge: "hoybuild0",
		BIP: netip.MustParsePrefix("10.214.0.1/24"), UserMap: h.users, Ready: 2,
	})
	keep(h, nets, err, func(n *network.Networks) { h.ended(n.Close()) })
	if err := nets.Start(); err != nil {
		h.t.Fatal(err)
	}
	b, err := Open(ctx, Options{
		Root: filepath.Join(h.dir, "build"), ExecRoot: h.execRoot(), Images: h.store, Runtime: run, Keeper: kept, Networks: nets, Cgroups: groups,
		Host:         spec.Host{Seccomp: true, CgroupNamespaces: true, RecursiveReadOnly: true, UserNamespace: h.users != nil, MemoryLimit: true, SwapLimit: true, PidsLimit: true, CPUShares: true, CPUCfs: true},
		CgroupParent: parent, UserMap: h.users, Registries: h.hosts,
	})
	h.b = keep(h, b, err, func(b *Builder) { h.ended(b.Close()) })
	h.c = h.client()
	h.parts.Add(func() { h.c.Close() })
}

func (h *bench) execRoot() string { return filepath.Join(h.dir, "run") }

func (h *bench) close() { h.parts.Run() }

// client speaks to the builder by a connection in memory.
func (h *bench) client() *client.Client {
	h.t.Helper()
	c, err := client.New(context.Background(), "", client.WithContextDialer(func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		go h.b.ServeControl(context.Background(), far)
		return near, nil
	}))
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// busybox imports the image that Dockerfiles of tests begin with.
func (h *bench) busybox() {
	h.t.Helper()
	tar, err := busybox.Tar()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.store.Import(context.Background(), bytes.NewReader(tar), image.ImportOptions{Ref: "busybox"}); err != nil {
		h.t.Fatal(err)
	}
}

// outcome is what a build did.
type outcome struct {
	digest string
	log    string
	cached []string // steps that were not run
	ran    []string
}

// build builds a Dockerfile with files beside it.
func (h *bench) build(ctx context.Context, dockerfile string, files map[string]string, change ...func(*client.SolveOpt)) (outcome, error) {
	h.t.Helper()
	dir := h.t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return h.buildDir(ctx, dir, change...)
}

func (h *bench) buildDir(ctx context.Context, dir string, change ...func(*client.SolveOpt)) (outcome, error) {
	fs, err := fsutil.NewFS(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	opt := client.SolveOpt{
		Frontend:    "dockerfile.v0",
		LocalMounts: map[string]fsutil.FS{"context": fs, "dockerfile": fs},
		Exports:     []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": "built"}}},
	}
	for _, f := range change {
		f(&opt)
	}
	var out outcome
	news, done := make(chan *client.SolveStatus), make(chan struct{})
	go func() {
		defer close(done)
		out.follow(news)
	}()
	res, err := h.c.Solve(ctx, nil, opt, news)
	<-done
	if res != nil {
		out.digest = res.ExporterResponse["containerimage.digest"]
	}
	return out, err
}

func (b *outcome) follow(news <-chan *client.SolveStatus) {
	var log strings.Builder
	for n := range news {
		for _, v := range n.Vertexes {
			switch {
			case v.Completed == nil:
			case v.Cached:
				b.cached = append(b.cached, v.Name)
			default:
				b.ran = append(b.ran, v.Name)
			}
		}
		for _, l := range n.Logs {
			log.Write(l.Data)
		}
	}
	b.log = log.String()
}
