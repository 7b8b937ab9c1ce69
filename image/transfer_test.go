package image

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// many is an image for two platforms, with an attestation for each and a signature for
// the first.
type many struct {
	index, amd, arm, attested, signature ocispec.Descriptor
	amdLayer, armLayer                   ocispec.Descriptor
}

func (s *server) many(tag string) (m many) {
	s.t.Helper()
	a, amd := s.image("", amd64, layer{archive(s.t, file("of", "amd64 "+tag)), ocispec.MediaTypeImageLayer, asIs})
	b, arm := s.image("", arm64, layer{archive(s.t, file("of", "arm64 "+tag)), ocispec.MediaTypeImageLayer, asIs})
	m.amd, m.arm, m.amdLayer, m.armLayer = amd, arm, a.Layers[0], b.Layers[0]
	m.attested = s.artifact("attested "+tag, nil)
	m.signature = s.artifact("signed "+tag, &m.amd)
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, d := range []struct {
		ocispec.Descriptor
		p ocispec.Platform
	}{{m.arm, arm64}, {m.amd, amd64}, {m.attested, ocispec.Platform{OS: "unknown", Architecture: "unknown"}}} {
		d.Platform = &d.p
		if d.Digest == m.attested.Digest {
			d.Annotations = map[string]string{annotationKind: attestation, annotationFor: m.amd.Digest.String()}
		}
		ix.Manifests = append(ix.Manifests, d.Descriptor)
	}
	m.index = s.manifest(ocispec.MediaTypeImageIndex, tag, ix)
	return m
}

// artifact is a manifest with one statement, about a subject if there is one.
func (s *server) artifact(text string, subject *ocispec.Descriptor) ocispec.Descriptor {
	s.t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x.test", Subject: subject}
	m.Config = s.blob(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	m.Layers = []ocispec.Descriptor{s.blob("application/vnd.in-toto+json", []byte(text))}
	d := s.manifest(m.MediaType, "", m)
	if subject != nil { // distribution's registry lists none by itself
		s.manifest(ocispec.MediaTypeImageIndex, strings.Replace(subject.Digest.String(), ":", "-", 1), ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d},
		})
	}
	return d
}

func (s *Store) has(t *testing.T, d digest.Digest) bool {
	t.Helper()
	ok, err := s.haveBlob(namespaced(t.Context()), d)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestPullPlatforms fetches what is for one platform, with what is attested of it, and
// survives a collection with it.
func TestPullPlatforms(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	m := r.many("1")
	s := open(t, Options{})
	mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	if _, err := s.meta.GarbageCollect(namespaced(t.Context())); err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		d    digest.Digest
		here bool
	}{
		"index": {m.index.Digest, true}, "manifest": {m.amd.Digest, true}, "layer": {m.amdLayer.Digest, true},
		"attestation": {m.attested.Digest, true}, "its statement": {digest.FromString("attested 1"), true},
		"signature": {m.signature.Digest, true}, "its content": {digest.FromString("signed 1"), true},
		"the other manifest": {m.arm.Digest, false}, "the other layer": {m.armLayer.Digest, false},
	} {
		if s.has(t, tc.d) != tc.here {
			t.Errorf("%s: here: %v", what, !tc.here)
		}
	}
	mustPull(t, s, r, "1", PullOptions{Platform: &arm64})
	im, release, err := s.Hold(t.Context(), r.ref("1").String(), &arm64)
	if err != nil || im.Config.Architecture != "arm64" || !s.has(t, m.armLayer.Digest) {
		t.Fatalf("%+v, %v", im, err)
	}
	release()
	_, single := r.image("foreign", arm64, layer{archive(t, file("of", "arm64")), ocispec.MediaTypeImageLayer, asIs})
	for tag, p := range map[string]ocispec.Platform{"1": {OS: "linux", Architecture: "s390x"}, "foreign": amd64} {
		_, err := s.Pull(t.Context(), r.ref(tag), r.source(), PullOptions{Platform: &p})
		if want := "no matching manifest for linux/" + p.Architecture + " in the manifest list entries: there are linux/arm64"; !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if got := mustPull(t, s, r, "foreign", PullOptions{Platform: &arm64}); got.Target.Digest != single.Digest {
		t.Errorf("%+v", got)
	}
}

// TestPullMoved pulls a tag that stands for something else now: the old image dangles.
func TestPullMoved(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	s := open(t, Options{})
	r.many("1")
	old := mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	r.image("1", amd64, layer{archive(t, file("new", "new")), ocispec.MediaTypeImageLayer, asIs})
	now := mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	if im, err := s.Get(t.Context(), old.Image.ID); err != nil || len(im.RepoTags) > 0 || !now.Newer {
		t.Errorf("%+v, %v", im, err)
	}
	wrong, err := reference.WithDigest(reference.TrimNamed(r.ref("1")), digest.FromString("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), wrong, r.source(), PullOptions{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a digest that is not there: %v", err)
	}
	if _, err := s.Pull(t.Context(), wrong, lying{r.source(), now.Target}, PullOptions{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a registry that gives another one: %v", err)
	}
}

// lying stands for a registry that has one answer.
type lying struct {
	Source
	d ocispec.Descriptor
}

func (l lying) Resolve(context.Context, string) (ocispec.Descriptor, error) { return l.d, nil }

// into is a Target that notes what happens to it.
type into struct {
	Target
	uploads, mounts chan digest.Digest
}

func (i into) Upload(ctx context.Context, d ocispec.Descriptor, open func(int64) (io.ReadCloser, error), sent func(int64)) error {
	i.uploads <- d.Digest
	return i.Target.Upload(ctx, d, open, sent)
}

func (i into) Mount(ctx context.Context, d ocispec.Descriptor, from reference.Named) (bool, error) {
	ok, err := i.Target.Mount(ctx, d, from)
	if ok {
		i.mounts <- d.Digest
	}
	return ok, err
}

func (s *server) into(name string) into {
	return into{s.repository(name), make(chan digest.Digest, 100), make(chan digest.Digest, 100)}
}

func drain(c chan digest.Digest) (l []digest.Digest) {
	for len(c) > 0 {
		l = append(l, <-c)
	}
	return l
}

// tagged gives an image another name, in repository name of the registry.
func (s *server) tagged(t *testing.T, st *Store, ref reference.Named, name string) reference.Named {
	t.Helper()
	to, err := reference.ParseNormalizedNamed(s.Host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Tag(t.Context(), ref.String(), to.String()); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestPush sends what the registry lacks, byte for byte, once; what another repository
// of it has is mounted from there.
func TestPush(t *testing.T) {
	rootful.Check(t)
	r := serve(t)
	base := layer{archive(t, file("base", noise(1, 100_000))), ocispec.MediaTypeImageLayerGzip, r.gz}
	m, d := r.image("1", amd64, base)
	s := open(t, Options{})
	mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	other := serve(t)
	for _, tc := range []struct {
		to              *server
		name            string
		uploads, mounts int
	}{
		{r, "lib/x:again", 0, 0},
		{r, "other/y:1", 0, 2},
		{other, "lib/x:1", 2, 0},
		{other, "lib/x:2", 0, 0},
		{other, "lib/z:1", 0, 2}, // from where it has just been pushed to
	} {
		ref := tc.to.tagged(t, s, r.ref("1"), tc.name)
		dst := tc.to.into(reference.Path(ref))
		var states []State
		sent, err := s.Push(t.Context(), ref, dst, PushOptions{Progress: func(p Progress) {
			if p.Digest == m.Layers[0].Digest && p.State != Pushing {
				states = append(states, p.State)
			}
		}})
		if err != nil || sent.Target.Digest != d.Digest || sent.Instead != nil {
			t.Fatalf("%s: %+v, %v", tc.name, sent, err)
		}
		if u, mo := drain(dst.uploads), drain(dst.mounts); len(u) != tc.uploads || len(mo) != tc.mounts {
			t.Errorf("%s: uploads %v, mounts %v", tc.name, u, mo)
		}
		want := []State{Preparing, There}
		if tc.uploads > 0 {
			want[1] = Pushed
		} else if tc.mounts > 0 {
			want[1] = Mounted
		}
		if !slices.Equal(states, want) {
			t.Errorf("%s: %v", tc.name, states)
		}
		got, err := tc.to.repository(reference.Path(ref)).Resolve(t.Context(), ref.(reference.Tagged).Tag())
		if err != nil || got.Digest != d.Digest {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
	if _, err := s.Push(t.Context(), r.ref("none"), r.into("lib/x"), PushOptions{}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "tag does not exist") {
		t.Error(err)
	}
}

// TestPushPlatforms pushes an index with all that belongs to it, or what of it is here.
func TestPushPlatforms(t *testing.T) {
	rootful.Check(t)
	r, other := serve(t), serve(t)
	m := r.many("1")
	s := open(t, Options{})
	mustPull(t, s, r, "1", PullOptions{Platform: &amd64})
	push := func(name string, p *ocispec.Platform) (*Sent, error) {
		ref := other.tagged(t, s, r.ref("1"), name)
		return s.Push(t.Context(), ref, other.into(reference.Path(ref)), PushOptions{Platform: p})
	}
	resolves := func(name, tag string, d ocispec.Descriptor) {
		t.Helper()
		if got, err := other.repository(name).Resolve(t.Context(), tag); err != nil || got.Digest != d.Digest {
			t.Errorf("%s:%s is %v, %v", name, tag, got, err)
		}
	}
	// Of the other platform nothing is here.
	sent, err := push("a:1", nil)
	if err != nil || sent.Instead == nil || sent.Instead.Digest != m.index.Digest || sent.Target.Digest != m.amd.Digest {
		t.Fatalf("%+v, %v", sent, err)
	}
	resolves("a", "1", m.amd)
	if l, err := other.repository("a").Referrers(t.Context(), m.amd.Digest); err != nil || len(l) != 1 || l[0].Digest != m.signature.Digest {
		t.Errorf("referrers: %v, %v", l, err)
	}
	if _, err := push("a:2", &arm64); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "was found but does not provide the specified platform (linux/arm64)") {
		t.Error(err)
	}
	// Where the registry has the rest, the index is pushed.
	ref := r.tagged(t, s, r.ref("1"), "lib/x:2")
	if sent, err := s.Push(t.Context(), ref, r.into("lib/x"), PushOptions{}); err != nil || sent.Target.Digest != m.index.Digest {
		t.Errorf("%+v, %v", sent, err)
	}
	mustPull(t, s, r, "1", PullOptions{Platform: &arm64})
	if sent, err = push("b:1", nil); err != nil || sent.Instead != nil || sent.Target.Digest != m.index.Digest {
		t.Errorf("%+v, %v", sent, err)
	}
	resolves("b", "1", m.index)
	resolves("b", m.attested.Digest.String(), m.attested)
	if sent, err = push("b:arm", &arm64); err != nil || sent.Target.Digest != m.arm.Digest {
		t.Errorf("%+v, %v", sent, err)
	}
	resolves("b", "arm", m.arm)
}

// TestGate lets in as many as it should, in order, also when the number changes and when
// somebody does not want to wait any more.
func TestGate(t *testing.T) {
	g := &gate{}
	g.set(1)
	if err := g.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, entered := make(chan error), make(chan int, 3)
	go func() { left <- g.enter(ctx) }()
	eventually.True(t, "one waits", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.waiting) == 1 })
	for i := range 3 {
		go func() {
			if err := g.enter(context.Background()); err != nil {
				t.Error(err)
			}
			entered <- i
		}()
		eventually.True(t, "it waits", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.waiting) == 2+i })
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	g.leave()
	if i := <-entered; i != 0 {
		t.Errorf("%d was quicker", i)
	}
	g.set(0)
	<-entered
	<-entered
	for range 3 {
		g.leave()
	}
	if g.inside != 0 {
		t.Errorf("%d inside", g.inside)
	}
}
