package build

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/tonistiigi/fsutil"
	"github.com/ulikunitz/xz"

	"hoy/lib/buildlog"
	"hoy/lib/fault"
	"hoy/lib/filters"
	"hoy/test/eventually"
)

// archive is a tar archive of files, whose names and contents alternate.
func archive(t testing.TB, files ...string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(files[i+1]))
	}
	w.Close()
	return &b
}

// classic builds and returns all words.
func (h *bench) classic(r Request) (string, *Result, error) {
	h.b.o.Tag = h.store.Tag
	var words strings.Builder
	ids := 0
	res, err := h.b.Classic(h.t.Context(), r, Classic{
		Stdout:   func(s string) { words.WriteString(s) },
		Stderr:   func(s string) { words.WriteString("! " + s) },
		Progress: func(jsonstream.Message) {},
		Image:    func(string) { ids++ },
	})
	return words.String(), res, err
}

// hexes are ids, and made-up names of containers.
var hexes = regexp.MustCompile(`\b[0-9a-f]{12}\b`)

// TestClassicWords: each instruction makes an image, whose parent is that of the one
// before; what is done again is found.
func TestClassicWords(t *testing.T) {
	h := newBench(t)
	h.busybox()
	const first = `Step 1/6 : FROM busybox
 ---> ID
Step 2/6 : ENV A=b
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 3/6 : COPY x /x
 ---> ID
Step 4/6 : WORKDIR /w
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 5/6 : LABEL l=m
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 6/6 : LABEL q=$"
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
[Warning] One or more build-args [UNUSED] were not consumed
Successfully built ID
Successfully tagged t:latest
`
	second := strings.ReplaceAll(first, " ---> Running in ID\n ---> Removed intermediate container ID\n", " ---> Using cache\n")
	second = strings.Replace(second, "/x\n --->", "/x\n ---> Using cache\n --->", 1)
	value := "v"
	for _, want := range []string{first, second} {
		words, res, err := h.classic(Request{
			Context: archive(t, "Dockerfile", "FROM busybox\nENV A=b\nCOPY x /x\nWORKDIR /w\n", "x", "hello"),
			Tags:    []string{"docker.io/library/t:latest"}, Labels: map[string]string{"l": "m", "q": "$\""}, Args: map[string]*string{"UNUSED": &value},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := hexes.ReplaceAllString(words, "ID"); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		im, err := h.store.Get(t.Context(), "t")
		if err != nil || im.ID != res.ImageID || im.Config.Config.Labels["q"] != "$\"" {
			t.Errorf("%v, %+v, %v", res, im, err)
		}
	}
	steps, err := h.store.History(t.Context(), "t", nil)
	if err != nil || len(steps) != 6 {
		t.Fatal(steps, err)
	}
	for _, s := range steps[:5] {
		if s.ID == "<missing>" {
			t.Errorf("%s has no image", s.CreatedBy)
		}
	}
}

// TestArchives: a context may be compressed in any usual way, or be a Dockerfile alone.
func TestArchives(t *testing.T) {
	h := newBench(t)
	h.busybox()
	plain := archive(t, "Dockerfile", "FROM busybox\nCOPY f /\n", "f", "content").Bytes()
	for name, open := range map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
		"xz":   func(w io.Writer) io.WriteCloser { z, _ := xz.NewWriter(w); return z },
	} {
		var b bytes.Buffer
		w := open(&b)
		w.Write(plain)
		w.Close()
		if res, err := h.b.Build(t.Context(), Request{Context: &b}); err != nil || res.ImageID == "" {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	python := pythonArchive(t, "Dockerfile", "FROM busybox\nCOPY f /\n", "f", "content")
	if _, err := h.b.Build(t.Context(), Request{Context: bytes.NewReader(python)}); err != nil {
		t.Errorf("with times of parts of seconds: %v", err)
	}
	if _, _, err := h.classic(Request{Context: bytes.NewReader(python)}); err != nil {
		t.Errorf("with times of parts of seconds, classic: %v", err)
	}
	if _, err := h.b.Build(t.Context(), Request{Context: strings.NewReader("FROM busybox\nENV A=b\n")}); err != nil {
		t.Errorf("a Dockerfile alone: %v", err)
	}
	if _, _, err := h.classic(Request{Context: strings.NewReader("FROM busybox\nENV A=b\n")}); err != nil {
		t.Errorf("a Dockerfile alone, classic: %v", err)
	}
	if _, err := h.b.Build(t.Context(), Request{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no context: %v", err)
	}
	large := archive(t, "Dockerfile", "FROM busybox\nCOPY f /\n", "f", strings.Repeat("x", maxDockerfile+1))
	if _, _, err := h.classic(Request{Context: large}); err != nil {
		t.Errorf("a context larger than a Dockerfile may be: %v", err)
	}
	broken := append([]byte("\x1f\x8b"), plain[2:]...)
	if _, err := h.b.Build(t.Context(), Request{Context: bytes.NewReader(broken)}); err == nil || !strings.Contains(err.Error(), "gzip") {
		t.Errorf("damaged: %v", err)
	}
}

// pythonArchive is as docker-py's: before each member stands when exactly it was changed.
func pythonArchive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Format: tar.FormatPAX, ModTime: time.Unix(1, 5e8)}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestArchivesGo: of an archive the cache keeps what it was unpacked to, by which the next
// build finds what it was used for.
func TestArchivesGo(t *testing.T) {
	h := newBench(t)
	h.busybox()
	for range 2 {
		if _, _, err := h.classic(Request{Context: archive(t, "Dockerfile", "FROM busybox\nCOPY f /\n", "f", "content")}); err != nil {
			t.Fatal(err)
		}
		var ran []string
		if _, err := h.b.Build(t.Context(), Request{Context: archive(t, "Dockerfile", "FROM busybox\nCOPY f /\n", "f", "content"), Archives: map[string]io.Reader{"other": archive(t, "g", "")},
			Trace: func(s *control.StatusResponse) {
				for _, v := range s.Vertexes {
					if v.Completed != nil && !v.Cached {
						ran = append(ran, v.Name)
					}
				}
			}}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.Join(ran, "\n"), "COPY") {
			t.Errorf("done again: %q", ran)
		}
		if n := h.cached("unpack context"); n == 0 {
			t.Error("what it was unpacked to is not kept")
		}
		eventually.True(t, "the archive is not kept", func() bool { return h.cached("http url") == 0 })
	}
}

// cached counts the records of the cache whose descriptions contain text.
func (h *bench) cached(text string) (n int) {
	h.t.Helper()
	u, err := h.b.DiskUsage(h.t.Context(), true)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range u.Items {
		if strings.Contains(r.Description, text) {
			n++
		}
	}
	return n
}

// TestForeignArchive: nothing that an archive says leads out of it.
func TestForeignArchive(t *testing.T) {
	h := newBench(t)
	h.busybox()
	out := filepath.Join(h.dir, "out")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range []tar.Header{
		{Name: "../../../../../.." + out + "/dots", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: out + "/absolute", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: h.dir},
		{Name: "link/out", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "link/out/through", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "/etc/hostname"},
		{Name: "Dockerfile", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len("FROM busybox\nCOPY . /x\n"))},
	} {
		if err := w.WriteHeader(&e); err != nil {
			t.Fatal(err)
		}
		if e.Size > 0 {
			io.WriteString(w, "FROM busybox\nCOPY . /x\n")
		}
	}
	w.Close()
	_, err := h.b.Build(t.Context(), Request{Context: &b}) // whether it can be built does not matter
	t.Log(err)
	if _, err := os.Lstat(out); err == nil {
		t.Error("the archive has written outside of its root")
	}
}

// TestBeside: contexts that have names, and one that comes by a request of its own.
func TestBeside(t *testing.T) {
	h := newBench(t)
	h.busybox()
	uploaded := make(chan error, 1)
	go func() {
		uploaded <- h.b.Upload(t.Context(), "id", archive(t, "Dockerfile", "FROM busybox\nCOPY --from=other f /\nCOPY --from=base g /\n"))
	}()
	var files bytes.Buffer
	res, err := h.b.Build(t.Context(), Request{
		ID: "id", Remote: "upload-request", Archives: map[string]io.Reader{"other": archive(t, "f", "of the other")},
		Contexts: map[string]string{"base": "docker-image://busybox"}, Outputs: []Output{{Type: "tar", W: &files}},
	})
	if err == nil {
		t.Errorf("busybox has no file g: %v", res)
	}
	if err := <-uploaded; err != nil {
		t.Error(err)
	}
	if err := h.b.Upload(t.Context(), "nobody", strings.NewReader("")); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := h.b.Build(t.Context(), Request{
		Context:  archive(t, "Dockerfile", "FROM busybox\nCOPY --from=other f /\n"),
		Archives: map[string]io.Reader{"other": archive(t, "f", "of the other")}, Outputs: []Output{{Type: "local", W: &files}},
	}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(&files); ; {
		e, err := r.Next()
		if err != nil {
			break
		}
		text, _ := io.ReadAll(r)
		got[e.Name] = string(text)
	}
	if got["f"] != "of the other" || len(got) < 3 {
		t.Errorf("the archive has %d files, f is %q", len(got), got["f"])
	}
}

// TestInspect: a linter's findings become warnings with their places.
func TestInspect(t *testing.T) {
	h := newBench(t)
	h.busybox()
	var told []buildlog.Event
	tell := NewTeller(func(e buildlog.Event) { told = append(told, e) })
	tell.End(h.b.Inspect(t.Context(), Request{Context: archive(t, "Dockerfile", "FROM busybox AS Stage\nMAINTAINER me\n"), Trace: tell.Status}, "lint"))
	rules := map[string]bool{}
	for _, e := range told {
		if w := e.Warning; w != nil && w.Place != nil && w.Place.Line > 0 && strings.Contains(w.Place.Excerpt, "FROM busybox") {
			rules[w.Rule] = true
		}
	}
	if last := told[len(told)-1]; !rules["StageNameCasing"] || !rules["MaintainerDeprecated"] || last.Result == nil || !strings.Contains(last.Result.Text, "StageNameCasing") {
		t.Errorf("%v, %+v", rules, last)
	}
	if res, err := h.b.Inspect(t.Context(), Request{Context: archive(t, "Dockerfile", "FROM busybox AS a\nFROM a AS b\n")}, "targets"); err != nil || !strings.Contains(res.Attrs[AttrText], "b") {
		t.Error(res, err)
	}
	if _, err := h.b.Inspect(t.Context(), Request{}, "nonsense"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

// TestTeller: an error says which step failed and where it is in the Dockerfile.
func TestTeller(t *testing.T) {
	h := newBench(t)
	h.busybox()
	var told []buildlog.Event
	tell := NewTeller(func(e buildlog.Event) { told = append(told, e) })
	tell.End(h.b.Build(t.Context(), Request{Context: archive(t, "Dockerfile", "FROM busybox\nENV A=b\nCOPY nosuch /\n"), Trace: tell.Status}))
	last := told[len(told)-1].Error
	if last == nil || last.Place == nil || last.Place.Line != 3 || !strings.Contains(last.Place.Excerpt, ">>> COPY nosuch") {
		t.Fatalf("%+v", last)
	}
	states := map[string]buildlog.State{}
	numbers := map[int]bool{}
	for _, e := range told {
		if e.Step != nil {
			states[e.Step.Name] = e.Step.State
			numbers[e.Step.Number] = true
		}
	}
	if states["[internal] load remote build context"] != buildlog.Finished || len(numbers) != len(states) || !numbers[1] {
		t.Errorf("%v, %v", states, numbers)
	}
}

// TestPruneRequest: docker's filters in BuildKit's words.
func TestPruneRequest(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		filters filters.Filters
		keep    time.Duration
		filter  string
		err     string
	}{
		{nil, 0, "", ""},
		{filters.Filters{"until": {"24h"}}, 24 * time.Hour, "", ""},
		{filters.Filters{"unused-for": {"999990"}}, 10 * time.Second, "", ""},
		{filters.Filters{"until": {"1h"}, "unused-for": {"2h"}}, 0, "", "conflicting filters"},
		{filters.Filters{"until": {"x"}}, 0, "", "expects a duration"},
		{filters.Filters{"type": {"regular", "internal"}}, 0, "", "filters expect only one value"},
		{filters.Filters{"id": {"abc"}}, 0, "id~=abc", ""},
		{filters.Filters{"type": {"regular"}}, 0, "type==regular", ""},
		{filters.Filters{"inuse": {""}, "label": {"x"}}, 0, "inuse", ""},
	} {
		q, err := pruneRequest(PruneOptions{Filters: c.filters, Reserved: 7}, now)
		if c.err != "" {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: %v", c.filters, err)
			}
			continue
		}
		if err != nil || time.Duration(q.KeepDuration) != c.keep || strings.Join(q.Filter, " ") != c.filter || q.ReservedSpace != 7 {
			t.Errorf("%v: %+v, %v", c.filters, q, err)
		}
	}
}

// TestTranslate: every field of a request has its place in BuildKit's, or is refused.
func TestTranslate(t *testing.T) {
	b, err := Open(t.Context(), Options{Gateway: netip.MustParseAddr("10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	one := "1"
	s, done, err := b.prepare(t.Context(), &Request{
		Session: "s", Remote: "https://example.com/x.git", Dockerfile: "d", Target: "t", Tags: []string{"a:1", "b:2"}, Args: map[string]*string{"A": &one, "BUILDKIT_INLINE_CACHE": &one, "N": nil},
		Labels: map[string]string{"l": "m"}, Platforms: []string{"linux/amd64", "linux/arm64"}, NoCacheOf: []string{"x", "y"}, Pull: true,
		CacheFrom: []string{"img", "type=local,src=d"}, CacheTo: []string{"type=registry,ref=r,mode=max"}, Attests: []string{"type=provenance,mode=max"}, Allow: []string{"security.insecure"},
		Network: "host", Hosts: []string{"a:1.2.3.4", "b:host-gateway"}, ShmSize: 5, CgroupParent: "/c", Ulimits: []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}},
		Resources: container.Resources{Memory: 1, MemorySwap: -1, CPUShares: 2, CPUPeriod: 3, CPUQuota: 4, CpusetCpus: "0", CpusetMems: "0"},
		Outputs:   []Output{{Type: "registry"}, {Type: "local", W: io.Discard}, {Type: "cacheonly"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	done()
	for key, want := range map[string]string{
		"context": "https://example.com/x.git", "filename": "d", "target": "t", "build-arg:A": "1", "label:l": "m", "platform": "linux/amd64,linux/arm64",
		"no-cache": "x,y", "image-resolve-mode": "pull", "attest:provenance": "mode=max", "force-network-mode": "host", "add-hosts": "a=1.2.3.4,b=10.0.0.1",
		"shm-size": "5", "cgroup-parent": "/c", "ulimit": "nofile=1:2", "memory": "1", "memswap": "-1", "cpushares": "2", "cpuperiod": "3", "cpuquota": "4",
		"cpusetcpus": "0", "cpusetmems": "0", "cache-imports": `[{"Type":"registry","Attrs":{"ref":"img"}},{"Type":"local","Attrs":{"src":"d"}}]`,
	} {
		if got := s.FrontendAttrs[key]; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if _, has := s.FrontendAttrs["build-arg:N"]; has || len(s.Exporters) != 2 || s.Exporters[0].Attrs["name"] != "a:1,b:2" || s.Exporters[0].Attrs["push"] != "true" ||
		s.Exporters[1].Type != "tar" || s.Session != "s" || strings.Join(s.Entitlements, " ") != "security.insecure network.host" || len(s.Cache.Exports) != 2 {
		t.Errorf("%+v", s)
	}
	for want, r := range map[string]Request{
		"network mode":        {Network: "mynet"},
		"invalid host":        {Hosts: []string{"nope"}},
		"needs its session":   {CacheTo: []string{"type=local,dest=x"}},
		"invalid cache":       {CacheFrom: []string{"a=b,c"}},
		"needs a context":     {},
		"secrets come by the": {Session: "s", Secrets: map[string][]byte{"a": nil}},
	} {
		if _, _, err := b.prepare(t.Context(), &r); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestSameRegistry: keys of config.json, as clients have written them.
func TestSameRegistry(t *testing.T) {
	for _, c := range []struct {
		key, host string
		same      bool
	}{
		{"https://index.docker.io/v1/", "registry-1.docker.io", true},
		{"docker.io", "registry-1.docker.io", true},
		{"example.com:5000", "example.com:5000", true},
		{"http://example.com/v2", "example.com", true},
		{"example.com", "evil.example.com", false},
	} {
		if sameRegistry(c.key, c.host) != c.same {
			t.Errorf("%s and %s", c.key, c.host)
		}
	}
}

// TestFailures: a failed step tells its exit code in docker's words and in the engine's;
// what failed is counted by reason.
func TestFailures(t *testing.T) {
	h := newBench(t)
	h.busybox()
	words, _, err := h.classic(Request{Context: archive(t, "Dockerfile", "FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo said; exit 3\n")})
	if err == nil || err.Error() != "The command '/bin/sh -ec echo said; exit 3' returned a non-zero code: 3" || ExitCode(err) != 3 || !strings.Contains(words, "\nsaid\n") {
		t.Errorf("%v\n%s", err, words)
	}
	if _, err := h.b.Build(t.Context(), Request{Context: archive(t, "Dockerfile", "FROM busybox\nRUN exit 4\n")}); ExitCode(err) != 4 || placeOf(err) == nil || placeOf(err).Line != 2 {
		t.Error(err)
	}
	secret := "FROM busybox\nRUN --mount=type=secret,id=s,required=true cat /run/secrets/s\n"
	if _, err := h.b.Build(t.Context(), Request{Context: archive(t, "Dockerfile", secret)}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "DOCKER_BUILDKIT=1") {
		t.Error(err)
	}
	var said strings.Builder
	if _, err := h.b.Build(t.Context(), Request{Context: archive(t, "Dockerfile", secret), Secrets: map[string][]byte{"s": []byte("known")}, Trace: func(s *control.StatusResponse) {
		for _, l := range s.Logs {
			said.Write(l.Msg)
		}
	}}); err != nil || said.String() != "known" {
		t.Error(said.String(), err)
	}
	for dockerfile, why := range map[string]string{"FRM x\n": failedInstruction, "": failedEmpty, "RUN true\n": failedSyntax} {
		if _, _, err := h.classic(Request{Context: archive(t, "Dockerfile", dockerfile)}); err == nil || reason(err) != why {
			t.Errorf("%q: %v", dockerfile, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = h.b.Build(ctx, Request{Context: archive(t, "Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n"), Trace: func(s *control.StatusResponse) {
		if len(s.Logs) > 0 {
			cancel()
		}
	}})
	if err == nil || reason(err) != failedCanceled {
		t.Error(err)
	}
	if started, failed := h.b.Counts(); started != 8 || failed[failedStep] != 3 || failed[failedCanceled] != 1 {
		t.Error(started, failed)
	}
}

// TestRemoteStatus: a server that does not give a context is told of with docker's words,
// and the kind that its status has.
func TestRemoteStatus(t *testing.T) {
	h := newBench(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(status)
	}))
	defer srv.Close()
	for status, kind := range map[int]fault.Kind{400: fault.Invalid, 401: fault.Unauthorized, 403: fault.Forbidden, 404: fault.NotFound, 503: fault.Internal} {
		at := fmt.Sprint(srv.URL, "/", status)
		want := fmt.Sprintf("error downloading remote context %s: failed to GET %[1]s with status %d %s", at, status, http.StatusText(status))
		if _, _, err := h.classic(Request{Remote: at}); !fault.Is(err, kind) || err.Error() != want {
			t.Errorf("%d: %v, want %s", status, err, want)
		}
		if _, err := h.b.Build(t.Context(), Request{Remote: at}); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprint("invalid response status ", status)) {
			t.Errorf("%d: BuildKit says %v", status, err)
		}
	}
}

// TestClientSession: files come by a client's session, as docker's clients before buildx
// have it: POST /session, then POST /build with its id.
func TestClientSession(t *testing.T) {
	h := newBench(t)
	h.busybox()
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM busybox\nCOPY . /all\nRUN ls /all\n", "file": "x", "out": "y", ".dockerignore": "out\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.NewSession(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": files, "dockerfile": files}))
	var both sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	both.Go(func() {
		s.Run(ctx, func(_ context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			near, far := net.Pipe()
			both.Go(func() { h.b.ServeSession(ctx, far, meta) })
			return near, nil
		})
	})
	defer func() { cancel(); s.Close(); both.Wait() }()
	var said strings.Builder
	res, err := h.b.Build(t.Context(), Request{Session: s.ID(), Remote: "client-session", Tags: []string{"of-a-session"}, Trace: func(s *control.StatusResponse) {
		for _, l := range s.Logs {
			said.Write(l.Msg)
		}
	}})
	if err != nil || said.String() != "Dockerfile\nfile\n" {
		t.Fatalf("%v, %v: %q", res, err, said.String())
	}
	if im, err := h.store.Get(t.Context(), "of-a-session"); err != nil || im.ID != res.ImageID {
		t.Error(im, err)
	}
}
