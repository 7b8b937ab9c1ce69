package engine

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"hoy/registry"
	"hoy/registry/registrytest"
	"hoy/test/rootful"
)

// TestSignaturePolicy pulls an image that must be signed: without a signature, with one,
// and after the policy has changed.
func TestSignaturePolicy(t *testing.T) {
	rootful.Check(t)
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "team.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	r := registrytest.Start(t, registrytest.Options{})
	file := filepath.Join(dir, "policy.json")
	policy := func(action string) {
		writeFile(t, file, fmt.Appendf(nil, `{"rules":[{"match":"%s/*",%s}]}`, r.Host, action))
	}
	policy(`"action":"verify","keys":["team.pub"]`)
	e := Start(t, "--signature-policy", file)
	name := e.inRegistry(r, 1000)
	status, said := e.pull(name, "1")
	if status != http.StatusForbidden || !strings.Contains(said, "it has no signature") || len(e.imageFiles()) > 0 {
		t.Errorf("without a signature: %d %s, %v", status, said, e.imageFiles())
	}
	sign(t, name, key)
	status, said = e.pull(name, "1")
	if status != http.StatusOK || !strings.Contains(said, "Signature: good, by key sha256:") {
		t.Errorf("with a signature: %d %s", status, said)
	}
	policy(`"action":"reject"`)
	unix.Kill(e.Pid(), unix.SIGHUP)
	e.Eventually("the new policy", func() bool { status, _ := e.pull(name, "1"); return status == http.StatusForbidden })
	e.Hoy("rmi", name+":1")
}

// sign attaches a signature to what is tagged 1, as cosign does.
func sign(t *testing.T, name string, key *ecdsa.PrivateKey) {
	t.Helper()
	c, err := registry.New(registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.Repository(t.Context(), n, registry.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := repo.Resolve(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, name, d.Digest)
	sum := sha256.Sum256(payload)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	upload := func(mediaType string, b []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		open := func(off int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b[off:])), nil }
		if err := repo.Upload(t.Context(), d, open, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		return d
	}
	l := upload("application/vnd.dev.cosign.simplesigning.v1+json", payload)
	l.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)}
	m, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: upload(ocispec.MediaTypeImageConfig, []byte("{}")), Layers: []ocispec.Descriptor{l}})
	if err != nil {
		t.Fatal(err)
	}
	md := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(m), Size: int64(len(m))}
	if err := repo.PutManifest(t.Context(), md, m, "sha256-"+d.Digest.Encoded()+".sig"); err != nil {
		t.Fatal(err)
	}
}
