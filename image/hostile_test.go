package image

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// Every refused archive leaves nothing: no image, no blob, no layer.
func TestHostileArchives(t *testing.T) {
	rootful.Check(t)
	layer := archive(t, file("f", strings.Repeat("x", 4000)))
	good := dockerArchive(t, []string{"x"}, layer)
	for name, tc := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":             {nil, "holds no image|manifest.json"},
		"not an archive":    {bytes.Repeat([]byte("x"), 2000), "not a tar archive"},
		"root file system":  {layer, "root file system is brought in by import"},
		"truncated":         {good[:len(good)/2], "truncated"},
		"truncated gzip":    {gzipped(t, good)[:100], "truncated"},
		"damaged gzip":      {damage(gzipped(t, good)), "damaged|truncated|not a tar"},
		"layer missing":     {archive(t, file("c.json", `{}`), file("manifest.json", `[{"Config":"c.json","Layers":["../../etc/passwd"]}]`)), "lacks the layer"},
		"config missing":    {archive(t, file("manifest.json", `[{"Config":"/etc/passwd"}]`)), "lacks the configuration"},
		"wrong layer":       {bytes.Replace(good, []byte("xxxx"), []byte("xxxy"), 1), "configuration says"},
		"layer count":       {archive(t, file("c.json", `{"rootfs":{"type":"layers","diff_ids":[]}}`), file("l", "x"), file("manifest.json", `[{"Config":"c.json","Layers":["l"]}]`)), "1 layers, its configuration 0"},
		"bad json":          {archive(t, file("manifest.json", `[{`)), "cannot read manifest.json"},
		"bad name":          {dockerArchive(t, []string{"UPPER CASE"}, layer), "names an image"},
		"links in a circle": {nil, "lacks the configuration"},
		"layout version":    {archive(t, file("oci-layout", `{"imageLayoutVersion":"9"}`)), "version"},
		"wrong blob name":   {archive(t, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("blobs/sha256/"+strings.Repeat("0", 64), "x")), "has digest"},
		"blob missing":      {archive(t, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", `{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:`+strings.Repeat("0", 64)+`"}]}`)), "lacks sha256:0000"},
		"layer leads out":   {dockerArchive(t, []string{"x"}, archive(t, file("../../../up", "x"))), "leads out"},
		"bomb":              {dockerArchive(t, []string{"x"}, archive(t, file("zeros", strings.Repeat("\x00", 9<<20)))), "allowed"},
		"zstd bomb":         {zstandard(t, archive(t, file("zeros", strings.Repeat("\x00", 9<<20)))), "allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "links in a circle" {
				a, b := member{}, member{}
				a.Name, a.Typeflag, a.Linkname = "a", '2', "b"
				b.Name, b.Typeflag, b.Linkname = "b", '2', "a"
				tc.archive = archive(t, a, b, file("manifest.json", `[{"Config":"a"}]`))
			}
			s := open(t, Options{MaxUnpacked: 8 << 20})
			_, err := s.Load(t.Context(), bytes.NewReader(tc.archive))
			refused(t, s, err, tc.want)
		})
	}
}

func TestHostileImports(t *testing.T) {
	rootful.Check(t)
	good := archive(t, file("f", strings.Repeat("x", 4000)))
	for name, tc := range map[string]struct {
		archive []byte
		o       ImportOptions
		want    string
	}{
		"not an archive": {bytes.Repeat([]byte("x"), 2000), ImportOptions{}, "not a tar archive"},
		"truncated":      {good[:3000], ImportOptions{}, "truncated"},
		"truncated gzip": {gzipped(t, good)[:60], ImportOptions{}, "truncated"},
		"zstd bomb":      {zstandard(t, archive(t, file("zeros", strings.Repeat("\x00", 9<<20)))), ImportOptions{}, "allowed"},
		"leads out":      {archive(t, file("../up", "")), ImportOptions{}, "leads out"},
		"bad name":       {good, ImportOptions{Ref: "a b"}, "invalid reference"},
		"bad change":     {good, ImportOptions{Changes: []string{"FROM scratch"}}, "not a valid change command"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{MaxUnpacked: 8 << 20})
			_, err := s.Import(t.Context(), bytes.NewReader(tc.archive), tc.o)
			refused(t, s, err, tc.want)
		})
	}
}

// refused checks the error and that nothing is left in the store.
func refused(t *testing.T, s *Store, err error, want string) {
	t.Helper()
	ok := false
	for _, w := range strings.Split(want, "|") {
		ok = ok || err != nil && strings.Contains(err.Error(), w)
	}
	if !ok || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v (kind %d), want %q", err, fault.KindOf(err), want)
	}
	eventually.True(t, "the store is empty", func() bool {
		n := 0
		for _, d := range []string{"staging", "content/ingest", "content/blobs/sha256", "overlay/snapshots"} {
			es, _ := os.ReadDir(filepath.Join(s.o.Root, d))
			n += len(es)
		}
		return n == 0
	})
	if all, _ := s.List(t.Context()); len(all) > 0 {
		t.Errorf("%d images left", len(all))
	}
}

func damage(b []byte) []byte {
	b = bytes.Clone(b)
	for i := 40; i < 60; i++ {
		b[i] ^= 0x55
	}
	return b
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

// TestHostileSizes pulls images whose manifests have sizes that cannot be: they are refused
// before a byte of a layer is fetched, and the engine lives.
func TestHostileSizes(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	m, _ := r.image("", amd64, layer{archive(t, file("a", "1")), ocispec.MediaTypeImageLayer, asIs}, layer{archive(t, file("b", "2")), ocispec.MediaTypeImageLayer, asIs})
	for tag, sizes := range map[string][2]int64{
		"negative": {-5, m.Layers[1].Size},
		"huge":     {1 << 62, m.Layers[1].Size},
		"wrapping": {1 << 62, 1 << 62}, // their sum is negative
		"hidden":   {1 << 62, -1 << 62},
	} {
		t.Run(tag, func(t *testing.T) {
			bad := m
			bad.Layers = slices.Clone(m.Layers)
			bad.Layers[0].Size, bad.Layers[1].Size = sizes[0], sizes[1]
			r.manifest(m.MediaType, tag, bad)
			s := open(t, Options{})
			_, err := s.Pull(t.Context(), r.ref(tag), r.source(), PullOptions{Platform: &amd64})
			if k := fault.KindOf(err); k != fault.Invalid && k != fault.Unavailable {
				t.Errorf("%v", err)
			}
			if names := leftovers(t, s); len(names) > 0 || r.bytes(m.Layers[0])+r.bytes(m.Layers[1]) > 0 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// One image of an archive calls a layer of another its configuration, of some bytes.
func TestHostileConfiguration(t *testing.T) {
	rootful.Check(t)
	big := archive(t, file("f", strings.Repeat("x", maxJSON)))
	var members []member
	blob := func(mediaType, s string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(s), Size: int64(len(s))}
		members = append(members, file("blobs/sha256/"+d.Digest.Encoded(), s))
		return d
	}
	layer := blob(ocispec.MediaTypeImageLayer, string(big))
	config := blob(ocispec.MediaTypeImageConfig, marshal(t, ocispec.Image{Platform: amd64, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}}}))
	good := blob(ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer}}))
	config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: layer.Digest, Size: 100}
	bad := blob(ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{Config: config}))
	b := archive(t, append(members, file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
		file("index.json", marshal(t, ocispec.Index{Manifests: []ocispec.Descriptor{good, bad}})))...)
	s := open(t, Options{})
	if _, err := s.Load(t.Context(), bytes.NewReader(b)); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("%v", err)
	}
}

// More layers than can be mounted: all with the same content, which need not even come.
func TestHostileLayers(t *testing.T) {
	rootful.Check(t)
	layer := archive(t, file("f", "x"))
	b := dockerArchive(t, []string{"x"}, slices.Repeat([][]byte{layer}, maxLayers+1)...)
	s := open(t, Options{})
	if _, err := s.Load(t.Context(), bytes.NewReader(b)); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "501 layers") {
		t.Errorf("%.300v", err)
	}
	if l, err := s.List(t.Context()); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
}

// Names have a MiB each and are nearly nothing when they are compressed: all of them are
// kept in memory until the archive ends.
func TestHostileNames(t *testing.T) {
	a := &outer{files: map[string]*part{}, links: map[string]string{}}
	for n := range 100 {
		name := strings.Repeat("n", 1<<19) + strconv.Itoa(n)
		err := a.member(t.Context(), &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: name}, nil)
		if fault.Is(err, fault.Invalid) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%d names of half a MiB were kept", len(a.links))
}
