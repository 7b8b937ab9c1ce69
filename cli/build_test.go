package cli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/system"

	"hoy/lib/buildfiles"
	"hoy/lib/buildlog"
)

// asked is a build as the fake was asked for it.
type asked struct {
	query url.Values
	auth  string
	parts []string // names, in order
	data  map[string][]byte
}

// builds has the fake answer a build by these events, and returns what it is asked.
func (f *fake) builds(events ...buildlog.Event) *asked {
	got := &asked{data: map[string][]byte{}}
	f.json("GET /_ping", 200, nil)
	f.mux.HandleFunc("POST /hoy/build", func(w http.ResponseWriter, r *http.Request) {
		flush := http.NewResponseController(w)
		flush.EnableFullDuplex()
		got.query, got.auth = r.URL.Query(), r.Header.Get("X-Registry-Config")
		m, err := r.MultipartReader()
		if err != nil {
			f.t.Error(err)
			return
		}
		e := json.NewEncoder(w)
		if err := got.read(m, func(w []buildfiles.Want) error {
			defer flush.Flush()
			return e.Encode(buildlog.Event{Wants: w})
		}); err != nil {
			f.t.Error(err)
			return
		}
		for _, ev := range events {
			e.Encode(ev)
		}
	})
	return got
}

func (a *asked) read(m *multipart.Reader, want func([]buildfiles.Want) error) error {
	a.parts, a.data = nil, map[string][]byte{}
	for {
		p, err := m.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		a.parts = append(a.parts, p.FormName())
		if p.FormName() == "files" {
			return a.fetch(p, want)
		}
		if a.data[p.FormName()], err = io.ReadAll(p); err != nil {
			return err
		}
	}
}

// fetch asks for all files, whose texts are in data by folder and name.
func (a *asked) fetch(r io.Reader, want func([]buildfiles.Want) error) error {
	f, err := buildfiles.Receive(r, want)
	if err != nil {
		return err
	}
	for folder, l := range f.Folders {
		for _, e := range l.Entries {
			in, err := f.Open(folder, e.Name)
			if err != nil {
				return err
			}
			b, err := io.ReadAll(in)
			if err != nil {
				return err
			}
			a.data[folder+"/"+e.Name] = b
		}
	}
	return nil
}

const anID = "sha256:1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"

var succeeded = buildlog.Event{Result: &buildlog.Result{ImageID: anID, Attrs: map[string]string{"containerimage.digest": anID, "containerimage.descriptor": "eyJhIjoxfQ=="}}}

// contextOf makes a folder with a Dockerfile and a file.
func contextOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM scratch", "a": "text"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func archiveOf(t *testing.T, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		text := h.Name
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, text)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, ModTime: time.Unix(1e9, 0)}
}

// TestBuild: what goes to the engine, and what comes of its answer.
func TestBuild(t *testing.T) {
	f := newFake(t)
	got := f.builds(
		buildlog.Event{Step: &buildlog.Step{Number: 1, Name: "[1/1] RUN x", State: buildlog.Started}},
		buildlog.Event{Log: &buildlog.Log{Step: 1, Stream: 1, Data: []byte("said\n")}},
		buildlog.Event{Step: &buildlog.Step{Number: 1, Name: "[1/1] RUN x", State: buildlog.Finished, Duration: time.Second}},
		succeeded,
	)
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(`{"auths":{"example.com":{"auth":"bWU6cHc="}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOKEN", "secret")
	dir, other := contextOf(t), contextOf(t)
	id, meta := filepath.Join(config, "id"), filepath.Join(config, "meta")
	code, out, errs := f.hoy("", "build", "-t", "web", "--secret", "id=TOKEN", "--build-context", "other="+other, "--build-context", "base=docker-image://busybox",
		"--iidfile", id, "--metadata-file", meta, "--rm=false", dir)
	if code != 0 || out != "" {
		t.Fatalf("code %d, %q, %s", code, out, errs)
	}
	for _, want := range []string{"WARNING: --rm=false changes nothing", "#1 [1/1] RUN x\n", " said\n", "#1 DONE 1.0s\n"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q lacks %q", errs, want)
		}
	}
	if want := []string{"secrets", "files"}; !slices.Equal(got.parts, want) {
		t.Errorf("parts %v, want %v", got.parts, want)
	}
	if string(bytes.TrimSpace(got.data["secrets"])) != `{"TOKEN":"c2VjcmV0"}` {
		t.Errorf("secrets: %s", got.data["secrets"])
	}
	for name, want := range map[string]string{"context/a": "text", "context/Dockerfile": "FROM scratch", "dockerfile/Dockerfile": "FROM scratch", "context:other/a": "text"} {
		if string(got.data[name]) != want {
			t.Errorf("%s: %q", name, got.data[name])
		}
	}
	if q := got.query; q.Get("t") != "web" || q.Get("dockerfile") != "Dockerfile" || q.Get("buildcontext") != "base=docker-image://busybox" || q.Get("networkmode") != "default" {
		t.Errorf("query %v", q)
	}
	if got.auth == "" {
		t.Error("no credentials are sent")
	}
	if b, err := os.ReadFile(id); err != nil || string(b) != anID {
		t.Errorf("iidfile: %s, %v", b, err)
	}
	var m map[string]any
	if b, err := os.ReadFile(meta); err != nil || json.Unmarshal(b, &m) != nil || fmt.Sprint(m["containerimage.descriptor"]) != "map[a:1]" || m["containerimage.digest"] != anID {
		t.Errorf("metadata: %s, %v", b, err)
	}
	if code, out, errs := f.hoy("", "image", "build", "-q", dir); code != 0 || out != anID+"\n" || errs != "" {
		t.Errorf("-q: code %d, %q, %q", code, out, errs)
	}
	if code, _, errs := f.hoy("FROM scratch", "builder", "build", "-"); code != 0 || string(got.data["dockerfile/Dockerfile"]) != "FROM scratch" {
		t.Errorf("-: code %d, %q, %s", code, got.data, errs)
	}
	archive := archiveOf(t, file("Dockerfile"))
	if code, _, errs := f.hoy(string(archive), "build", "-"); code != 0 || !bytes.Equal(got.data["context"], archive) {
		t.Errorf("an archive: code %d, %d bytes, %s", code, len(got.data["context"]), errs)
	}
	if code, _, errs := f.hoy("", "buildx", "b", "-f", "x", "https://example.com/a.git#b"); code != 0 || got.query.Get("remote") != "https://example.com/a.git#b" || got.query.Get("dockerfile") != "x" {
		t.Errorf("URL: code %d, %v, %s", code, got.query, errs)
	}
}

// TestBuildFails: the last output and the lines of the Dockerfile are shown, and the code
// is 1.
func TestBuildFails(t *testing.T) {
	f := newFake(t)
	f.builds(
		buildlog.Event{Step: &buildlog.Step{Number: 2, Name: "[1/1] RUN x", State: buildlog.Started}},
		buildlog.Event{Log: &buildlog.Log{Step: 2, Stream: 2, Data: []byte("sh: x: not found\n")}},
		buildlog.Event{Step: &buildlog.Step{Number: 2, Name: "[1/1] RUN x", State: buildlog.Failed, Error: "exit code: 127"}},
		buildlog.Event{Error: &buildlog.Error{Message: "exit code: 127", Step: 2, Code: 127, Place: &buildlog.Place{File: "Dockerfile", Line: 2, Excerpt: "Dockerfile:2\n--------------------\n   2 | >>> RUN x\n--------------------\n"}}},
	)
	dir := contextOf(t)
	dest := filepath.Join(dir, "out.tar")
	code, out, errs := f.hoy("", "build", "-o", "type=tar,dest="+dest, "--progress", "quiet", dir)
	want := "------\n > [1/1] RUN x:\nsh: x: not found\n------\nDockerfile:2\n--------------------\n   2 | >>> RUN x\n--------------------\nERROR: failed to build: failed to solve: exit code: 127\n"
	if code != 1 || out != "" || errs != want {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBuildOutputs: archives become files and folders; nothing gets out of a folder.
func TestBuildOutputs(t *testing.T) {
	dir := contextOf(t)
	out := filepath.Join(t.TempDir(), "sub", "out")
	archive := archiveOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o750}, file("d/f"))
	send := func(n int, data []byte) []buildlog.Event {
		half := len(data) / 2
		return []buildlog.Event{{Chunk: &buildlog.Chunk{Output: n, Data: data[:half]}}, {Chunk: &buildlog.Chunk{Output: n, Data: data[half:], Last: true}}}
	}
	f := newFake(t)
	f.builds(append(append(send(0, archive), send(1, archive)...), succeeded)...)
	to := filepath.Join(t.TempDir(), "x.tar")
	if code, got, errs := f.hoy("", "build", "-o", out, "-o", "type=oci,dest="+to, "-o", "type=image", dir); code != 0 || got != "" {
		t.Fatalf("code %d, %q, %s", code, got, errs)
	}
	if b, err := os.ReadFile(filepath.Join(out, "d/f")); err != nil || string(b) != "d/f" {
		t.Errorf("%q, %v", b, err)
	}
	if fi, err := os.Stat(filepath.Join(out, "d/f")); err != nil || fi.Mode() != 0o640 || fi.ModTime().Unix() != 1e9 {
		t.Errorf("%v, %v", fi, err)
	}
	if b, err := os.ReadFile(to); err != nil || !bytes.Equal(b, archive) {
		t.Errorf("%d bytes, %v", len(b), err)
	}

	f = newFake(t)
	f.builds(append(send(0, archive), succeeded)...)
	if code, got, errs := f.hoy("", "build", "-o", "-", dir); code != 0 || got != string(archive) {
		t.Errorf("code %d, %d bytes, %s", code, len(got), errs)
	}

	for _, bad := range [][]tar.Header{
		{file("../escaped")},
		{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, file("l/escaped")},
		{{Typeflag: tar.TypeLink, Name: "l", Linkname: "../../Dockerfile"}},
	} {
		f = newFake(t)
		f.builds(append(send(0, archiveOf(t, bad...)), succeeded)...)
		parent := t.TempDir()
		code, _, errs := f.hoy("", "build", "-o", filepath.Join(parent, "out"), dir)
		left, err := os.ReadDir(parent)
		if code != 1 || err != nil || len(left) != 1 || !strings.Contains(errs, "cannot unpack") {
			t.Errorf("%s: code %d, %v, %v, %s", bad[len(bad)-1].Name, code, left, err, errs)
		}
	}
}

// TestBuildRefused: by the engine, by what is here, by an engine that is not hoy's.
func TestBuildRefused(t *testing.T) {
	dir := contextOf(t)
	f := newFake(t)
	f.json("GET /_ping", 200, nil)
	f.mux.HandleFunc("POST /hoy/build", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400) // before anything of the body is read
		io.WriteString(w, `{"message":"invalid tag"}`)
	})
	for line, want := range map[string]string{
		"build " + dir:               "Error response from daemon: invalid tag\n",
		"build " + dir + "/none":     "hoy: unable to prepare context: path \"" + dir + "/none\" not found\n",
		"build":                      "hoy: 'hoy build' requires 1 argument\n\nUsage:  hoy build [OPTIONS] PATH | URL | -\n\nSee 'hoy build --help'.\n",
		"build --ssh default " + dir: "hoy: invalid argument \"default\" for \"--ssh\" flag: --ssh is not built yet: give a key or a token by --secret\nSee 'hoy build --help'.\n",
	} {
		if code, _, errs := f.hoy("", strings.Fields(line)...); code == 0 || errs != want {
			t.Errorf("%s: code %d, %q, want %q", line, code, errs, want)
		}
	}
	f = newFake(t)
	f.json("GET /_ping", 200, nil)
	f.mux.HandleFunc("POST /hoy/build", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		io.WriteString(w, `{"message":"page not found"}`)
	})
	if code, _, errs := f.hoy("", "build", dir); code != 1 || !strings.Contains(errs, "is not hoy's") {
		t.Errorf("code %d, %s", code, errs)
	}
}

// TestBuildAsks: what the Dockerfile is asked.
func TestBuildAsks(t *testing.T) {
	dir := contextOf(t)
	f := newFake(t)
	got := f.builds(
		buildlog.Event{Warning: &buildlog.Warning{Rule: "StageNameCasing", Message: "Stage name 'A' should be lowercase", Detail: []string{"Stage names should be lowercase"}, URL: "https://x"}},
		buildlog.Event{Result: &buildlog.Result{Text: "text\n", Data: []byte(`{"warnings":[{}]}`)}},
	)
	code, out, errs := f.hoy("", "build", "--check", dir)
	if want := "Check complete, 1 warning has been found!\n\nWARNING: StageNameCasing - https://x\nStage name 'A' should be lowercase\nStage names should be lowercase\n"; code != 1 || out != want || errs != "" || got.query.Get("method") != "lint" {
		t.Errorf("code %d, %q, %q, %v", code, out, errs, got.query)
	}
	if code, out, _ := f.hoy("", "build", "--call", "check,format=json,ignorestatus=true", dir); code != 0 || out != `{"warnings":[{}]}`+"\n" {
		t.Errorf("code %d, %q", code, out)
	}
	if code, out, _ := f.hoy("", "build", "--call", "targets", dir); code != 0 || out != "text\n" {
		t.Errorf("code %d, %q", code, out)
	}
}

// TestBuildCache: its records, and their removal.
func TestBuildCache(t *testing.T) {
	f := newFake(t)
	when := time.Now().Add(-time.Hour)
	f.json("GET /system/df", 200, system.DiskUsage{BuildCacheUsage: &build.DiskUsage{TotalCount: 2, ActiveCount: 1, TotalSize: 3_000_000, Reclaimable: 1_000_000, Items: []build.CacheRecord{
		{ID: "bbbbbbbbbbbbbbbbbbbbbbbbb", Type: "regular", Size: 2_000_000, CreatedAt: when, LastUsedAt: &when, UsageCount: 3, InUse: true, Description: "mount / from exec /bin/sh -c make"},
		{ID: "aaaaaaaaaaaaaaaaaaaaaaaaa", Type: "source.local", Size: 1_000_000, CreatedAt: when, UsageCount: 1, Description: "local source for context"},
	}}})
	f.refuse("GET /hoy/disk", 404, "page not found")
	f.json("POST /build/prune", 200, build.CachePruneReport{CachesDeleted: []string{"a1", "b2"}, SpaceReclaimed: 1_500_000})
	f.json("POST /containers/prune", 200, nil)
	f.json("POST /networks/prune", 200, nil)
	f.json("POST /images/prune", 200, nil)
	for line, want := range map[string]string{
		"system df": "TYPE          TOTAL     ACTIVE    SIZE      RECLAIMABLE\nBuild Cache   2         1         3MB       1MB\n",
		"builder prune -f -a --filter until=1h --reserved-space 1k --max-used-space 2k --min-free-space 3k": "Deleted build cache objects:\na1\nb2\n\nTotal reclaimed space: 1.5MB\n",
		"system prune -f": "Deleted build cache objects:\na1\nb2\n\nTotal reclaimed space: 1.5MB\n",
		"buildx du":       "CACHE ID                    RECLAIMABLE   SIZE      LAST USED           DESCRIPTION\naaaaaaaaaaaaaaaaaaaaaaaaa   true          1MB                           local source for context\nbbbbbbbbbbbbbbbbbbbbbbbbb   false         2MB       About an hour ago   mount / from exec /bin/sh -c make\nReclaimable:\t1MB\nTotal:\t\t3MB\n",
	} {
		if code, out, errs := f.hoy("", strings.Fields(line)...); code != 0 || trimEnds(out) != want {
			t.Errorf("%s: code %d, %s\n%s\nwant\n%s", line, code, errs, out, want)
		}
	}
	if code, out, errs := f.hoy("", "system", "df", "-v"); code != 0 || !strings.Contains(trimEnds(out), "\nBuild cache usage: 3MB\n\nCACHE ID        CACHE TYPE     SIZE      CREATED             LAST USED           USAGE     SHARED\naaaaaaaaaaaa    source.local   1MB       About an hour ago                       1         false\nbbbbbbbbbbbb*   regular        2MB       About an hour ago   About an hour ago   3         false\n") {
		t.Errorf("code %d, %s\n%s", code, errs, out)
	}
	q := ""
	for _, r := range f.asked() {
		if strings.Contains(r, "/build/prune") && strings.Contains(r, "all=1") {
			q = r
		}
	}
	for _, want := range []string{"reserved-space=1024", "max-used-space=2048", "min-free-space=3072", "keep-storage=1024", "until"} {
		if !strings.Contains(q, want) {
			t.Errorf("%s lacks %s", q, want)
		}
	}
	if code, out, errs := f.hoy("n\n", "builder", "prune"); code != 0 || !strings.Contains(out, "WARNING! This will remove all dangling build cache.") || errs != "" {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}
