package build

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"
	"github.com/tonistiigi/fsutil"

	"hoy/image"
	"hoy/test/busybox"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// bench is a builder with all it stands on.
type bench struct {
	t     testing.TB
	dir   string
	store *image.Store
	b     *Builder
	c     *client.Client
}

func newBench(t testing.TB) *bench {
	rootful.Check(t)
	h := &bench{t: t, dir: t.TempDir()}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *bench) open() {
	h.t.Helper()
	ctx := context.Background()
	var err error
	if h.store, err = image.Open(ctx, image.Options{Root: filepath.Join(h.dir, "image")}); err != nil {
		h.t.Fatal(err)
	}
	h.store.Collect(nil)
	if h.b, err = Open(ctx, Options{Root: filepath.Join(h.dir, "build"), Images: h.store}); err != nil {
		h.t.Fatal(err)
	}
	h.c = h.client()
}

func (h *bench) close() {
	h.c.Close()
	if err := h.b.Close(); err != nil {
		h.t.Error(err)
	}
	if err := h.store.Close(); err != nil {
		h.t.Error(err)
	}
}

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

// built is what a build did.
type built struct {
	digest string
	log    string
	cached []string // steps that were not run
	ran    []string
}

// build builds a Dockerfile with files beside it.
func (h *bench) build(ctx context.Context, dockerfile string, files map[string]string, change ...func(*client.SolveOpt)) (built, error) {
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

func (h *bench) buildDir(ctx context.Context, dir string, change ...func(*client.SolveOpt)) (built, error) {
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
	var out built
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

func (b *built) follow(news <-chan *client.SolveStatus) {
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
