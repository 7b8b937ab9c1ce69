package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/client"
)

// manifestEngine is an engine whose registry example.com has images for two platforms. It
// keeps what is stored, by name.
func manifestEngine(t *testing.T) (f *fake, stored map[string]client.Manifest, dir string) {
	f = newFake(t)
	f.json("GET /info", 200, map[string]string{"IndexServerAddress": "https://index.example.org/v1/"})
	dir = t.TempDir()
	t.Setenv("HOY_CONFIG", dir)
	stored = map[string]client.Manifest{}
	of := func(name, mediaType, raw string, p *ocispec.Platform) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(raw), Size: int64(len(raw)), Platform: p}
		repo := name[:strings.LastIndexByte(name, ':')]
		stored[name], stored[repo+"@"+d.Digest.String()] = client.Manifest{Descriptor: d, Raw: []byte(raw)}, client.Manifest{Descriptor: d, Raw: []byte(raw)}
		return d
	}
	arm := of("example.com/arm:1", ocispec.MediaTypeImageManifest, `{"arm":true}`, &ocispec.Platform{OS: "linux", Architecture: "arm"})
	of("example.com/team/x:amd", ocispec.MediaTypeImageManifest, `{"amd":true}`, &ocispec.Platform{OS: "linux", Architecture: "amd64"})
	of("example.com/nothing:latest", "application/vnd.oci.image.manifest.v1+json", `{}`, nil)
	arm.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	index, _ := json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{arm}})
	of("example.com/arm:index", ocispec.MediaTypeImageIndex, string(index), nil)
	f.mux.HandleFunc("/hoy/manifests/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/hoy/manifests/")
		if r.Method == http.MethodPut {
			var m client.Manifest
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				t.Error(err)
			}
			m.Descriptor.Digest = digest.FromBytes(m.Raw)
			stored[name+" from "+r.URL.Query().Get("from")] = m
			json.NewEncoder(w).Encode(m.Descriptor)
			return
		}
		m, ok := stored[strings.Replace(name, ":index@", "@", 1)] // a digest counts more than a tag
		if !ok {
			w.WriteHeader(404)
			io.WriteString(w, `{"message":"no such manifest: `+name+`"}`)
			return
		}
		json.NewEncoder(w).Encode(m)
	})
	return f, stored, dir
}

func TestManifest(t *testing.T) {
	f, stored, dir := manifestEngine(t)
	list := `{
   "schemaVersion": 2,
   "mediaType": "application/vnd.oci.image.index.v1+json",
   "manifests": [
      {
         "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "size": 12,
         "digest": "` + digest.FromString(`{"arm":true}`).String() + `",
         "platform": {
            "architecture": "arm",
            "os": "linux",
            "variant": "v7"
         }
      },
      {
         "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "size": 12,
         "digest": "` + digest.FromString(`{"amd":true}`).String() + `",
         "platform": {
            "architecture": "amd64",
            "os": "linux"
         }
      }
   ]
}`
	for _, c := range []struct {
		line string
		code int
		out  string
		errs string
	}{
		{"manifest create example.com/team/x:1 example.com/arm:1 example.com/nope", 1, "", "hoy: no such manifest: example.com/nope:latest\n"},
		{"manifest create UPPER example.com/arm:1", 1, "", "hoy: error parsing name for manifest list UPPER: invalid reference format: repository name (UPPER) must be lowercase\n"},
		{"manifest rm example.com/team/x:1", 1, "", "hoy: no such manifest: example.com/team/x:1\n"},
		{"manifest create example.com/team/x:1 example.com/arm:index", 1, "", "hoy: example.com/arm:index is a manifest list\n"},
		{"manifest create example.com/team/x:1 example.com/arm:1", 0, "Created manifest list example.com/team/x:1\n", ""},
		{"manifest create example.com/team/x:1 example.com/arm:1", 1, "", "hoy: refusing to amend an existing manifest list with no --amend flag\n"},
		{"manifest create -a example.com/team/x:1 example.com/team/x:amd", 0, "Created manifest list example.com/team/x:1\n", ""},
		{"manifest annotate --variant v7 example.com/team/x:1 example.com/arm:1", 0, "", ""},
		{"manifest annotate --os beos example.com/team/x:1 example.com/arm:1", 1, "", "hoy: manifest entry for image has unsupported os/arch combination: beos/arm\n"},
		{"manifest annotate --arch arm example.com/team/x:1 example.com/nope:1", 1, "", "hoy: manifest for image example.com/nope:1 does not exist in example.com/team/x:1\n"},
		{"manifest inspect example.com/team/x:1", 0, list + "\n", ""},
		{"manifest inspect example.com/team/x:1 example.com/arm:1", 0, "{\n\t\"arm\": true\n}\n", ""},
		{"manifest inspect example.com/team/x:1 example.com/nope", 1, "", "hoy: no such manifest: example.com/nope:latest\n"},
		{"manifest push -p example.com/team/x:1", 0, "Pushed ref example.com/team/x@" + digest.FromString(`{"arm":true}`).String() + " with digest: " + digest.FromString(`{"arm":true}`).String() + "\n" + digest.FromString(list).String() + "\n", ""},
		{"manifest push example.com/team/x:1", 1, "", "hoy: no such manifest: example.com/team/x:1\n"},
		{"manifest create x example.com/arm:1", 0, "Created manifest list example.org/library/x:latest\n", ""},
		{"manifest push x", 1, "", "hoy: cannot use source images from a different registry than the target image: example.com != example.org\n"},
		{"manifest rm x", 0, "", ""},
		{"manifest create example.com/y example.com/nothing", 0, "Created manifest list example.com/y:latest\n", ""},
		{"manifest push example.com/y", 1, "", "hoy: manifest example.com/nothing:latest must have an OS and Architecture to be pushed to a registry: see 'hoy manifest annotate'\n"},
		{"manifest inspect example.com/arm:1", 0, "{\n\t\"arm\": true\n}\n", ""},
	} {
		code, out, errs := f.hoy("", strings.Fields(c.line)...)
		if code != c.code || out != c.out || errs != c.errs {
			t.Errorf("%s: code %d, stdout\n%s\nstderr %q\nwant %d\n%s\n%q", c.line, code, out, errs, c.code, c.out, c.errs)
		}
	}
	if got := stored["example.com/team/x:1 from "]; string(got.Raw) != list || got.Descriptor.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("pushed %s\n%s", got.Descriptor.MediaType, got.Raw)
	}
	if got := stored["example.com/team/x@"+digest.FromString(`{"arm":true}`).String()+" from example.com/arm"]; string(got.Raw) != `{"arm":true}` {
		t.Errorf("pushed %q", got.Raw)
	}
	if l, _ := os.ReadDir(filepath.Join(dir, "manifests")); len(l) != 1 || l[0].Name() != "example.com_y-latest" {
		t.Errorf("left: %v", l)
	}
}

// TestManifestVerbose: docker's form, with the platforms that the index says.
func TestManifestVerbose(t *testing.T) {
	f, _, _ := manifestEngine(t)
	code, out, errs := f.hoy("", "manifest", "inspect", "-v", "example.com/arm:index")
	var l []map[string]any
	if err := json.Unmarshal([]byte(out), &l); err != nil || code != 0 || errs != "" || len(l) != 1 {
		t.Fatalf("%v: code %d, %s%s", err, code, out, errs)
	}
	if p := l[0]["Descriptor"].(map[string]any)["platform"].(map[string]any); p["variant"] != "v6" || l[0]["OCIManifest"].(map[string]any)["arm"] != true ||
		!strings.HasPrefix(l[0]["Ref"].(string), "example.com/arm:index@sha256:") {
		t.Errorf("%s", out)
	}
}

// TestManifestInsecure, and an engine that is not hoy's.
func TestManifestInsecure(t *testing.T) {
	f := newFake(t)
	f.json("GET /info", 200, map[string]string{"IndexServerAddress": "https://index.example.org/v1/"})
	config(t, `{}`)
	f.refuse("/hoy/manifests/", 404, "page not found")
	code, _, errs := f.hoy("", "manifest", "inspect", "--insecure", "example.com/x")
	asks := f.asked()
	if code != 1 || !strings.Contains(errs, "is not hoy's") || !strings.HasSuffix(asks[len(asks)-1], "/hoy/manifests/example.com/x:latest?insecure=1") {
		t.Errorf("code %d, %s, asked %q", code, errs, asks)
	}
}
