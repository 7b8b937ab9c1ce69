package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/registry/registrytest"
)

// A list of tags goes on by links, on the same host, and to an end.
func TestTagsPages(t *testing.T) {
	var link func(page string) string
	reg := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		page := q.URL.Query().Get("last")
		if l := link(page); l != "" {
			w.Header().Set("Link", l)
		}
		fmt.Fprintf(w, `{"name":"x","tags":["t%s","a"]}`, page)
		return true
	})})
	r := open(t, reg, quick(), "x", Auth{})
	link = func(page string) string {
		if page == "" {
			return `</v2/x/tags/list?last=2&n=1>; rel="next"`
		}
		return ""
	}
	if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"a", "t", "t2"}) {
		t.Errorf("%q, %v", tags, err)
	}
	for says, l := range map[string]string{
		"without end": `</v2/x/tags/list>; rel=next`, "elsewhere": `<https://example.com/v2/x/tags/list>; rel="next"`,
	} {
		link = func(string) string { return l }
		if _, err := r.Tags(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", l, err)
		}
	}
}

func TestNextLink(t *testing.T) {
	for v, want := range map[string]string{
		`<a>; rel="next"`: "a", `<a>;rel=next`: "a", `<a>; rel="prev", <b>; title=x; REL="Next"`: "b", `<a>`: "", `a; rel="next"`: "", ``: "", `<a; rel="next"`: "", `<a>; rel="prev"`: "",
	} {
		if got := nextLink([]string{v}); got != want {
			t.Errorf("%s: %q", v, got)
		}
	}
}

// What refers to an image is found by the interface, in as many pages as there are, or by
// the tag that stands in for it, which whoever pushes keeps.
func TestReferrers(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{}) // has no such interface
	r := open(t, reg, quick(), "x", Auth{})
	image := push(t, r, "v1", []byte("{}"))
	if l, err := r.Referrers(t.Context(), image.Digest); err != nil || len(l) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	var want []digest.Digest
	for _, kind := range []string{"application/one", "application/two"} {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: kind, Config: describe(ocispec.MediaTypeImageConfig, []byte("{}")),
			Layers: []ocispec.Descriptor{}, Subject: &image, Annotations: map[string]string{"a": kind}}
		m.SchemaVersion = 2
		raw, _ := json.Marshal(m)
		d := describe(m.MediaType, raw)
		for range 2 { // the second time is no other one
			if err := r.PutManifest(t.Context(), d, raw, ""); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, d.Digest)
	}
	l, err := r.Referrers(t.Context(), image.Digest)
	if err != nil || len(l) != 2 || l[0].Digest != want[0] || l[1].Digest != want[1] || l[1].ArtifactType != "application/two" || l[1].Annotations["a"] != "application/two" {
		t.Errorf("%+v, %v", l, err)
	}

	able := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/referrers/") {
			return false
		}
		page := ocispec.Index{Manifests: []ocispec.Descriptor{{Digest: want[0]}}}
		if q.URL.Query().Get("page") == "" {
			w.Header().Set("Link", `<?page=2>; rel="next"`)
		} else {
			page.Manifests[0].Digest = want[1]
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		json.NewEncoder(w).Encode(page)
		return true
	})})
	l, err = open(t, able, quick(), "x", Auth{}).Referrers(t.Context(), image.Digest)
	if err != nil || len(l) != 2 || l[0].Digest != want[0] || l[1].Digest != want[1] {
		t.Errorf("%+v, %v", l, err)
	}
	for _, code := range []int{400, 403, 404, 405} {
		without := registrytest.Start(t, registrytest.Options{Wrap: before(func(w http.ResponseWriter, q *http.Request) bool {
			if strings.Contains(q.URL.Path, "/referrers/") {
				w.WriteHeader(code)
			}
			return strings.Contains(q.URL.Path, "/referrers/")
		})})
		if l, err := open(t, without, quick(), "x", Auth{}).Referrers(t.Context(), image.Digest); err != nil || len(l) != 0 {
			t.Errorf("%d: %+v, %v", code, l, err)
		}
	}
	if _, err := r.Referrers(t.Context(), "x"); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

func TestPutManifestRefuses(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{})
	r := open(t, reg, quick(), "x", Auth{})
	raw := manifestOf([]byte("{}"))
	d := describe(ocispec.MediaTypeImageManifest, raw)
	if err := r.PutManifest(t.Context(), d, []byte("{}"), "v1"); !fault.Is(err, fault.Invalid) {
		t.Errorf("another content: %v", err)
	}
	for _, tag := range []string{"a/b", "..", "-", "a b", "sha256:x", strings.Repeat("a", 129)} {
		if err := r.PutManifest(t.Context(), d, raw, tag); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", tag, err)
		}
		if _, err := r.Resolve(t.Context(), tag); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", tag, err)
		}
	}
	if err := r.PutManifest(t.Context(), ocispec.Descriptor{Digest: "x"}, raw, "v1"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no digest: %v", err)
	}
	if _, err := r.Resolve(t.Context(), ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("nothing: %v", err)
	}
	if err := r.PutManifest(t.Context(), d, raw, "v1"); !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Invalid) {
		t.Errorf("of blobs that are missing: %v", err)
	}
}

// What registries and those before them say is given on, as far as it is meant for people.
func TestBodyText(t *testing.T) {
	for body, want := range map[string]string{
		`{"errors":[{"code":"DENIED","message":"no"},{"code":"NAME_UNKNOWN"}]}`:            "no; name_unknown",
		`{"errors":[{"code":"X","message":"m","detail":"d"},{"message":"n","detail":{}}]}`: "m (d); n",
		`{"details":"wrong password"}`:                  "wrong password",
		`{"error":"e","error_description":"described"}`: "described",
		"<html>\n502":            "",
		"plain\nmore":            "plain",
		"a\x1b[31mb":             "a [31mb",
		"":                       "",
		`{"errors":"x"}`:         "",
		strings.Repeat("ä", 400): strings.Repeat("ä", 250) + "…",
	} {
		if got := bodyText([]byte(body)); got != want {
			t.Errorf("%q: %q", body, got)
		}
	}
}
