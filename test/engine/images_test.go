package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hoy/test/rootful"
)

// entry is a member of a tar archive in short.
func entry(kind byte, name, link, body string) func(*tar.Writer) error {
	return func(w *tar.Writer) error {
		h := tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o755, Size: int64(len(body)), Devmajor: 8}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := io.WriteString(w, body)
		return err
	}
}

func reg(name, body string) func(*tar.Writer) error { return entry(tar.TypeReg, name, "", body) }

func tarball(t testing.TB, entries ...func(*tar.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := e(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// imageFiles lists what lies in an engine's image store, without its databases.
func (e *Engine) imageFiles() []string {
	var all []string
	for _, p := range []string{"staging/*", "content/ingest/*", "content/blobs/sha256/*", "overlay/snapshots/*"} {
		m, _ := filepath.Glob(filepath.Join(e.Dir, "data/image", p))
		all = append(all, m...)
	}
	return all
}

// TestHostileArchives imports and loads what is damaged or meant to harm, with the
// limit on unpacked bytes at 16 MiB. Either it is refused in one line, and nothing
// stays, or it is confined to the image, and goes with it.
func TestHostileArchives(t *testing.T) {
	rootful.Check(t)
	e := Start(t, "--max-layer-size", "16m")
	e.ImportBusybox()
	const before = 4 // three blobs and the unpacked layer of busybox
	if n := len(e.imageFiles()); n != before {
		t.Fatalf("%d files with one image", n)
	}
	secret := writeFile(t, filepath.Join(e.Dir, "secret"), []byte("untouched"))

	good := tarball(t, reg("f", strings.Repeat("x", 64<<10)))
	zeros := tarball(t, reg("zeros", strings.Repeat("\x00", 17<<20)))
	many := tarball(t, reg("a", strings.Repeat("\x00", 9<<20)), reg("b", strings.Repeat("\x00", 9<<20)))
	for _, tc := range []struct {
		name    string
		archive []byte
		says    string // "": it is an image
	}{
		{"junk", bytes.Repeat([]byte("junk "), 20_000), "not a tar archive"},
		{"truncated", good[:len(good)/2], "truncated"},
		{"truncated gzip", gzipped(t, good)[:100], "truncated"},
		{"dotdot", tarball(t, reg("../../../../secret", "x")), "leads out of the image's root"},
		{"dotdot inside", tarball(t, reg("a/../../secret", "x")), "leads out of the image's root"},
		{"absolute", tarball(t, reg(secret, "x")), ""},
		{"symbolic link out", tarball(t, entry(tar.TypeSymlink, "s", secret, ""), reg("s", "x")), ""},
		{"through a link", tarball(t, entry(tar.TypeSymlink, "up", "../../../../../../..", ""), reg("up/"+secret, "x")), ""},
		{"hard link out", tarball(t, entry(tar.TypeLink, "h", "../../../../secret", "")), "leads out of the image's root"},
		{"hard link absolute", tarball(t, entry(tar.TypeLink, "h", secret, "")), "the archive has not brought"},
		{"hard link through a link", tarball(t, entry(tar.TypeSymlink, "up", e.Dir, ""), entry(tar.TypeLink, "h", "up/secret", "")), "the archive has not brought"},
		{"device nodes", tarball(t, entry(tar.TypeBlock, "disk", "", ""), entry(tar.TypeChar, "tty", "", ""), entry(tar.TypeFifo, "pipe", "", "")), ""},
		{"unknown member", tarball(t, entry('Z', "z", "", "")), "unknown type"},
		{"root as a file", tarball(t, reg(".", "x")), "root directory"},
		{"bomb", gzipped(t, zeros), "--max-layer-size"},
		{"bomb of several files", gzipped(t, many), "--max-layer-size"},
	} {
		layer, config := tc.archive, `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:`+strings.Repeat("0", 64)+`"]}}`
		archives := map[string][]byte{
			"import": tc.archive,
			// A loaded layer has a digest, which these have not: whatever it is, it is refused.
			"load": tarball(t, reg("l.tar", string(layer)), reg("c.json", config), reg("manifest.json", `[{"Config":"c.json","Layers":["l.tar"],"RepoTags":["bad"]}]`)),
		}
		for how, a := range archives {
			args := map[string][]string{"import": {"import", "-", "bad"}, "load": {"load"}}[how]
			says := tc.says
			if how == "load" && says == "" {
				says = "unpacks to digest"
			}
			r := e.TryIn(bytes.NewReader(a), args...)
			if says == "" {
				if r.Code != 0 {
					t.Errorf("%s: %+v", tc.name, r)
				}
				e.Hoy("rmi", "bad")
			} else if line := strings.TrimSpace(r.Stderr); r.Code != 1 || !strings.Contains(line, says) || strings.Contains(line, "\n") {
				t.Errorf("%s, %s: exit code %d, says %q; want one line with %q", how, tc.name, r.Code, r.Stderr, says)
			}
			e.Eventually("nothing of "+tc.name, func() bool { return len(e.imageFiles()) == before })
		}
	}
	if r := e.TryIn(bytes.NewReader(good[:len(good)/2]), "load"); r.Code != 1 || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("load of half an archive: %+v", r)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "untouched" {
		t.Errorf("a file outside of the store was changed: %q, %v", b, err)
	}
	if got := e.Hoy("run", "--rm", "busybox", "echo", "alive"); got != "alive" {
		t.Errorf("after all that: %q", got)
	}
}

// TestDeviceNodesOfAnImage shows that what an image brings as device nodes is not
// a way to the machine's devices.
func TestDeviceNodesOfAnImage(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	var busybox bytes.Buffer
	busybox.Write(Busybox(t)[:len(Busybox(t))-1024]) // without the end mark
	busybox.Write(tarball(t, entry(tar.TypeBlock, "disk", "", "")))
	if r := e.TryIn(&busybox, "import", "-", "disk"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	if r := e.Try("run", "--rm", "disk", "head", "-c", "1", "/disk"); r.Code == 0 || !strings.Contains(r.Stderr, "not permitted") {
		t.Errorf("reading a disk by the image's own node: %+v", r)
	}
}

// TestSoakManyEntries imports an archive of empty files, 10,000 to a directory, made as
// it is sent: a million of them in make soak. The engine's memory stays bounded.
func TestSoakManyEntries(t *testing.T) { manyEntries(t, size(1_000_000, 20_000)) }

func manyEntries(t *testing.T, n int) {
	rootful.Check(t)
	e := Start(t)
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		for i := range n {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("d%d/f%d", i/10_000, i), Mode: 0o644}); err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.CloseWithError(tw.Close())
	}()
	start := time.Now()
	if r := e.TryIn(r, "import", "-", "many"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	t.Logf("imported in %v, the engine took %d MiB at most", time.Since(start).Round(time.Millisecond), e.peak()>>10)
	if peak := e.peak(); peak > 200<<10 {
		t.Errorf("the engine took %d KiB", peak)
	}
	e.Hoy("rmi", "many")
	e.Eventually("the files are gone", func() bool { return len(e.imageFiles()) == 0 })
}

// peak is the largest resident size of the engine until now, in KiB.
func (e *Engine) peak() int {
	e.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.Pid()))
	if err != nil {
		e.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// TestKilledWhileReading kills the engine while it imports or loads: after more and
// more of the archive, and at more and more of what it makes of the whole one. The
// next engine has the whole image or nothing of it.
func TestKilledWhileReading(t *testing.T) {
	const files, parts, last = 800, 4, 9
	rootFS := tarball(t, numberedFiles(files)...)
	for how, tc := range map[string]struct {
		archive []byte
		args    []string
	}{
		"import": {rootFS, []string{"import", "-", "new"}},
		"load":   {dockerArchive(t, "new:latest", rootFS), []string{"load"}},
	} {
		t.Run(how, func(t *testing.T) {
			rootful.Check(t)
			e := Start(t)
			before := len(e.imageFiles())
			unpacked := func() int {
				m, _ := filepath.Glob(filepath.Join(e.Dir, "data/image/overlay/snapshots/*/fs/d*/f*"))
				return len(m)
			}
			got := map[bool]int{}
			for step := range last + 1 {
				in, feed := io.Pipe()
				done := make(chan Result, 1)
				go func() { done <- e.TryIn(in, tc.args...) }()
				if step < parts {
					feed.Write(tc.archive[:len(tc.archive)*step/parts])
				} else {
					feed.Write(tc.archive)
					feed.Close()
					e.Eventually("traces of the image", func() bool {
						return len(e.imageFiles()) >= before+step-parts || e.Try("inspect", "new").Code == 0
					})
				}
				if step == last {
					e.Eventually("the image", func() bool { return e.Try("inspect", "new").Code == 0 })
				}
				e.Kill()
				feed.Close()
				<-done
				e.Up()
				whole := e.Try("inspect", "new").Code == 0
				got[whole]++
				want := before
				if whole {
					want += 4 // layer, configuration, manifest, and the layer unpacked
				}
				e.Eventually(fmt.Sprintf("%d files in the store after step %d (the image is there: %v)", want, step, whole), func() bool { return len(e.imageFiles()) == want })
				if whole {
					if n := unpacked(); n != files {
						t.Errorf("step %d: %d files of %d", step, n, files)
					}
					e.Hoy("rmi", "new")
					e.Eventually("the image is gone", func() bool { return len(e.imageFiles()) == before })
				}
			}
			t.Logf("killed %d times before and %d times after the image was there", got[false], got[true])
			if r := e.TryIn(bytes.NewReader(tc.archive), tc.args...); r.Code != 0 || unpacked() != files {
				t.Errorf("after all that: %+v, %d files", r, unpacked())
			}
		})
	}
}

func numberedFiles(n int) (l []func(*tar.Writer) error) {
	for i := range n {
		l = append(l, reg(fmt.Sprintf("d%d/f%d", i%10, i), strings.Repeat("x", 4000)))
	}
	return l
}

// dockerArchive is what docker save made of an image with one layer, before OCI.
func dockerArchive(t testing.TB, name string, layer []byte) []byte {
	return dockerArchiveWith(t, name, layer, "")
}

// dockerArchiveWith is dockerArchive with more in the image's configuration.
func dockerArchiveWith(t testing.TB, name string, layer []byte, more string) []byte {
	config := fmt.Sprintf(`{%s"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, more, sha256.Sum256(layer))
	return tarball(t, reg("layer.tar", string(layer)), reg("c.json", config),
		reg("manifest.json", fmt.Sprintf(`[{"Config":"c.json","Layers":["layer.tar"],"RepoTags":[%q]}]`, name)))
}

// TestCreatedNever has docker's answers for images whose builder had no clock: ko and others
// write the zero time, some write none. Clients up to 1.43 want a time in any case.
func TestCreatedNever(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	layer := tarball(t, reg("f", "x"))
	for _, tc := range []struct{ name, config, old, now, listed string }{
		{"zero", `"created":"0001-01-01T00:00:00Z",`, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "-62135596800"},
		{"none", "", "0001-01-01T00:00:00Z", "", "0"},
	} {
		if r := e.TryIn(bytes.NewReader(dockerArchiveWith(t, tc.name+":1", layer, tc.config)), "load"); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		for version, want := range map[string]string{"1.43": tc.old, "1.50": tc.now} {
			var got struct{ Created string }
			_, body := e.get("/v" + version + "/images/" + tc.name + ":1/json")
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Created != want {
				t.Errorf("%s by %s: %q, %v; want %q", tc.name, version, got.Created, err, want)
			}
		}
		var list []struct{ Created json.Number }
		_, body := e.get("/images/json?filters=" + url.QueryEscape(`{"reference":["`+tc.name+`"]}`))
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 || list[0].Created.String() != tc.listed {
			t.Errorf("%s: %v, %v; want %s", tc.name, list, err, tc.listed)
		}
	}
}
