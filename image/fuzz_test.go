package image

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"hoy/lib/fault"
	"hoy/test/rootful"
)

// openHere opens a store that unpacks in this process: a child for each input would
// take a hundred times as long, and package confine is fuzzed for itself.
func openHere(f *testing.F) *Store {
	f.Helper()
	rootful.Need(f)
	s, err := Open(context.Background(), Options{Root: f.TempDir(), MaxUnpacked: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	s.Collect(nil)
	f.Cleanup(func() { s.Close() })
	return s
}

// FuzzLoad reads any bytes as an image archive: it answers, and the store stays usable.
func FuzzLoad(f *testing.F) {
	layer := archive(f, file("a", "b"))
	f.Add(dockerArchive(f, []string{"a:1"}, layer))
	f.Add(layoutArchive(f, "b:1", layer, amd64, arm64))
	f.Add(gzipped(f, dockerArchive(f, nil, layer)))
	f.Add(archive(f, file("manifest.json", `[{"Config":"manifest.json","Layers":["manifest.json"]}]`)))
	f.Add(archive(f, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", `{"manifests":[{"digest":"sha256:x","size":-1}]}`)))
	s := openHere(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		loaded, err := s.Load(context.Background(), bytes.NewReader(b))
		if err == nil && len(loaded) == 0 {
			t.Error("neither images nor an error")
		}
	})
}

// FuzzDocuments loads an OCI layout with any index, manifest and configuration, in which
// INDEX, MANIFEST, CONFIG and LAYER stand for descriptors' digest and size. What is
// loaded can be listed, inspected, saved and removed.
func FuzzDocuments(f *testing.F) {
	layer := string(archive(f, file("a", "b")))
	diff := digest.FromString(layer).String()
	const (
		manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",CONFIG},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",LAYER}]}`
		index    = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",MANIFEST,"platform":{"os":"linux","architecture":"arm64"}}]}`
		docker   = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json",CONFIG},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip",LAYER}]}`
	)
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + diff + `"]},"config":{"Cmd":["x"],"Healthcheck":{"Test":["NONE"]}},"history":[{"created_by":"x"}]}`
	f.Add(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",MANIFEST,"annotations":{"org.opencontainers.image.ref.name":"a:1"}}]}`, index, manifest, config)
	f.Add(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json",INDEX,"annotations":{"io.containerd.image.name":"example.org/a:1"}}]}`, index, manifest, config)
	f.Add(`{"manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json",MANIFEST}]}`, index, docker, config)
	f.Add(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json",INDEX}]}`, `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"sha256:`+strings.Repeat("0", 64)+`","size":-1,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}}]}`, manifest, `{"rootfs":null,"created":"never"}`)
	s := openHere(f)
	f.Fuzz(func(t *testing.T, top, index, manifest, config string) {
		blobs := []member{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}
		put := func(word, content string, into ...*string) {
			d := digest.FromString(content)
			blobs = append(blobs, file("blobs/sha256/"+d.Encoded(), content))
			for _, doc := range into {
				*doc = strings.ReplaceAll(*doc, word, fmt.Sprintf(`"digest":%q,"size":%d`, d, len(content)))
			}
		}
		put("LAYER", layer, &manifest, &index, &top)
		put("CONFIG", config, &manifest, &index, &top)
		put("MANIFEST", manifest, &index, &top)
		put("INDEX", index, &top)
		loaded, err := s.Load(t.Context(), bytes.NewReader(archive(t, append(blobs, file("index.json", top))...)))
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Logf("an error without kind: %v", err)
		}
		for _, l := range loaded {
			inspected(t, s, l.Image)
		}
		if _, err := s.List(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// inspected does with an image what people do.
func inspected(t *testing.T, s *Store, im *Image) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.Get(ctx, im.ID); err != nil {
		t.Errorf("loaded, but not there: %v", err)
	}
	s.History(ctx, im.ID, nil)
	s.Attestations(ctx, im.ID, nil, nil, true)
	if err := s.Save(ctx, []string{im.ID}, nil, &bytes.Buffer{}, func(*Image) {}); err != nil {
		t.Errorf("loaded, but cannot be saved: %v", err)
	}
	if _, _, err := s.Sizes(ctx); err != nil {
		t.Errorf("sizes: %v", err)
	}
	if _, err := s.Remove(ctx, im.ID, true, nil); err != nil && !fault.Is(err, fault.NotFound) {
		t.Errorf("loaded, but cannot be removed: %v", err)
	}
}

// FuzzReference: what is taken for a name is one that leads back to itself; the rest is
// refused as invalid.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"a", "a:1", "example.org:5000/a/b:1", "a@sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 64), "0123abcd", "A", "a:", ":1", "a//b", "-a", "a/", "moby-dangling@sha256:" + strings.Repeat("0", 64), "localhost/a"} {
		f.Add(s)
	}
	s := openHere(f)
	f.Fuzz(func(t *testing.T, ref string) {
		tag, err := parseTag(ref)
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("kind of %v", err)
		}
		if err == nil {
			again, err := parseTag(reference.FamiliarString(tag))
			if err != nil || again.String() != tag.String() {
				t.Errorf("%q is %q, and that %v, %v", ref, tag, again, err)
			}
			if isDangling(tag.String()) {
				t.Errorf("%q is a name that stands for none", ref)
			}
		}
		if im, err := s.Get(t.Context(), ref); im != nil || err == nil {
			t.Errorf("%q is in an empty store", ref)
		} else if k := fault.KindOf(err); k != fault.Invalid && k != fault.NotFound {
			t.Errorf("kind of %v", err)
		}
	})
}

func FuzzChanges(f *testing.F) {
	for _, tc := range changeTable {
		f.Add(strings.Join(tc.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		Changes(strings.Split(s, "\n"))
	})
}
