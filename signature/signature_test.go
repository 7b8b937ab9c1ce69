package signature_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"hoy/lib/fault"
	"hoy/signature"
	"hoy/signature/verify"
)

// The test's own program stands in for hoy-verify.
func TestMain(m *testing.M) {
	if os.Getenv("PATH") == "" { // as the engine starts it: with no environment
		var q signature.Request
		if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
			os.Exit(2)
		}
		json.NewEncoder(os.Stdout).Encode(verify.Image(q))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// repository is a Source in memory.
type repository struct {
	blobs     map[digest.Digest][]byte
	tags      map[string]ocispec.Descriptor
	referrers map[digest.Digest][]ocispec.Descriptor
	fail      error
}

func (r *repository) Resolve(_ context.Context, tag string) (ocispec.Descriptor, error) {
	d, ok := r.tags[tag]
	if !ok {
		return d, fault.New(fault.NotFound, "no tag %s", tag)
	}
	return d, r.fail
}

func (r *repository) Fetch(_ context.Context, d ocispec.Descriptor, _, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.blobs[d.Digest])), r.fail
}

func (r *repository) Referrers(_ context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	return r.referrers[d], r.fail
}

func (r *repository) put(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	r.blobs[d.Digest] = b
	return d
}

func (r *repository) attach(t *testing.T, image digest.Digest, name string, k *ecdsa.PrivateKey) {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, name, image)
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	l := r.put("application/vnd.dev.cosign.simplesigning.v1+json", payload)
	l.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)}
	m, err := json.Marshal(ocispec.Manifest{Layers: []ocispec.Descriptor{l}})
	if err != nil {
		t.Fatal(err)
	}
	r.tags["sha256-"+image.Encoded()+".sig"] = r.put(ocispec.MediaTypeImageManifest, m)
}

func policy(t *testing.T, dir, text string) (*signature.Policy, error) {
	t.Helper()
	path := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return signature.Load(path)
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := cryptoutils.MarshalPublicKeyToPEM(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "team.pub"), pub, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := policy(t, dir, `{"rules":[
		{"match":"example.com/team/open","action":"accept"},
		{"match":"example.com/team/*","action":"verify","keys":["team.pub"]},
		{"match":"example.com/*","action":"reject"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := signature.Checker{Policy: p, Program: exe}
	image := digest.FromString("image")
	fresh := func() *repository {
		return &repository{blobs: map[digest.Digest][]byte{}, tags: map[string]ocispec.Descriptor{}, referrers: map[digest.Digest][]ocispec.Descriptor{}}
	}
	signed := fresh()
	signed.attach(t, image, "example.com/team/app", k)
	elsewhere := fresh()
	elsewhere.attach(t, image, "example.com/team/other", k)
	changed := fresh()
	changed.attach(t, image, "example.com/team/app", k)
	for d := range changed.blobs {
		changed.blobs[d] = append(changed.blobs[d], ' ')
	}
	down := fresh()
	down.fail = fault.New(fault.Unavailable, "it is down")
	for _, tc := range []struct {
		what, name string
		src        *repository
		by         string
		kind       fault.Kind
		says       string
	}{
		{"signed", "example.com/team/app", signed, "key sha256:", 0, ""},
		{"not signed", "example.com/team/app", fresh(), "", fault.Forbidden, "it has no signature"},
		{"signed for another", "example.com/team/app", elsewhere, "", fault.Forbidden, "another repository"},
		{"changed on the way", "example.com/team/app", changed, "", fault.Invalid, "has digest"},
		{"no answer", "example.com/team/app", down, "", fault.Unavailable, "it is down"},
		{"open", "example.com/team/open", fresh(), "", 0, ""},
		{"closed", "example.com/x/y", fresh(), "", fault.Forbidden, `rule "example.com/*"): images from there are not taken`},
		{"the default", "example.org/x", fresh(), "", 0, ""},
	} {
		name, err := reference.ParseNormalizedNamed(tc.name)
		if err != nil {
			t.Fatal(err)
		}
		by, err := c.Check(t.Context(), tc.src, name, image)
		if tc.says == "" {
			if err != nil || !strings.HasPrefix(by, tc.by) {
				t.Errorf("%s: %q, %v", tc.what, by, err)
			}
		} else if err == nil || fault.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %q, %v; want %q", tc.what, by, err, tc.says)
		}
	}
	c.Program = filepath.Join(dir, "none")
	name, _ := reference.ParseNormalizedNamed("example.com/team/app")
	if _, err := c.Check(t.Context(), signed, name, image); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without the program: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"k.pub", "root.json"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, says := range map[string]string{
		`{}`:                   "",
		`{"default":"reject"}`: "",
		`{"rules":[{"match":"a.example/*","action":"verify","keys":["k.pub"]}]}`:                                                  "",
		`{"rules":[{"match":"*","action":"verify","trustedRoot":"root.json","identities":[{"issuer":"i","subjectRegExp":"x"}]}]}`: "",
		`{`:                    "cannot read",
		`{"rule":[]}`:          "unknown field",
		`{"default":"verify"}`: "accept or reject",
		`{"default":"maybe"}`:  "unknown default",
		`{"rules":[{"match":"a*b","action":"accept"}]}`:                                                                           "one star at its end",
		`{"rules":[{"match":"a"}]}`:                                                                                               "unknown action",
		`{"rules":[{"match":"a","action":"verify"}]}`:                                                                             "needs keys or identities",
		`{"rules":[{"match":"a","action":"accept","keys":["k.pub"]}]}`:                                                            "action verify only",
		`{"rules":[{"match":"a","action":"verify","keys":["none.pub"]}]}`:                                                         "no such file",
		`{"rules":[{"match":"a","action":"verify","identities":[{"issuer":"i","subject":"s"}]}]}`:                                 "go together",
		`{"rules":[{"match":"a","action":"verify","trustedRoot":"root.json","identities":[{"issuer":"i"}]}]}`:                     "either subject or subjectRegExp",
		`{"rules":[{"match":"a","action":"verify","trustedRoot":"root.json","identities":[{"issuer":"i","subjectRegExp":"("}]}]}`: "error parsing regexp",
	} {
		_, err := policy(t, dir, text)
		if says == "" && err != nil || says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
	if _, err := signature.Load(filepath.Join(dir, "nothing")); !fault.Is(err, fault.Invalid) {
		t.Errorf("no file: %v", err)
	}
}
