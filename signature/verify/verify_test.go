package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"google.golang.org/protobuf/encoding/protojson"

	"hoy/signature"
)

const (
	image   = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	another = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	name    = "example.com/team/app"
	issuer  = "https://id.example.org"
	subject = "release@example.org"
)

func key(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, publicPEM(t, k.Public())
}

func publicPEM(t *testing.T, k crypto.PublicKey) []byte {
	t.Helper()
	b, err := cryptoutils.MarshalPublicKeyToPEM(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func simple(name, digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, name, digest)
}

func signed(t *testing.T, k *ecdsa.PrivateKey, payload []byte) signature.Attached {
	t.Helper()
	sum := sha256.Sum256(payload)
	sig, err := k.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return signature.Attached{Payload: payload, Signature: base64.StdEncoding.EncodeToString(sig)}
}

// want verifies q: by whom it is signed, or what the reasons say.
func want(t *testing.T, what string, q signature.Request, by, reason string) {
	t.Helper()
	a := Image(q)
	if a.Good != (by != "") || !strings.HasPrefix(a.By, by) || !strings.Contains(strings.Join(a.Reasons, "; "), reason) {
		t.Errorf("%s: %+v, want by %q, reason %q", what, a, by, reason)
	}
}

func TestAttachedByKey(t *testing.T) {
	mine, pub := key(t)
	theirs, _ := key(t)
	q := signature.Request{Name: name, Digest: image, Keys: [][]byte{publicPEM(t, theirs.Public()), pub}}
	with := func(a ...signature.Attached) signature.Request { r := q; r.Attached = a; return r }
	good := signed(t, mine, simple(name, image))
	want(t, "good", with(good), "key sha256:", "")
	stranger, _ := key(t)
	want(t, "one of several", with(signed(t, stranger, simple(name, image)), good), "key sha256:", "by none of the keys")
	want(t, "another key", with(signed(t, stranger, simple(name, image))), "", "by none of the keys")
	want(t, "another image", with(signed(t, mine, simple(name, another))), "", "another image")
	want(t, "another repository", with(signed(t, mine, simple("example.com/team/else", image))), "", "another repository")
	forged := good
	forged.Payload = simple(name, image+" ")
	want(t, "another text", with(forged), "", "another image")
	changed := good
	changed.Payload = append([]byte(" "), good.Payload...)
	want(t, "a changed text", with(changed), "", "by none of the keys")
	want(t, "nonsense", with(signature.Attached{Payload: []byte("x"), Signature: "!"}), "", "not about an image")
	q.Keys = [][]byte{[]byte("no key")}
	want(t, "no key", with(good), "", "cannot read public key")
}

// statement is an in-toto statement about a digest, as cosign's bundles sign.
func statement(digest string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, digest[7:])
}

func TestBundleByKey(t *testing.T) {
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := func(digest string) []byte {
		b, err := sign.Bundle(&sign.DSSEData{Data: statement(digest), PayloadType: "application/vnd.in-toto+json"}, pair, sign.BundleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return marshal(t, b)
	}
	pub, err := pair.GetPublicKeyPem()
	if err != nil {
		t.Fatal(err)
	}
	_, other := key(t)
	q := signature.Request{Name: name, Digest: image, Keys: [][]byte{other, []byte(pub)}, Bundles: [][]byte{text(image)}}
	want(t, "good", q, "key sha256:", "")
	q.Bundles = [][]byte{text(another)}
	want(t, "another image", q, "", "by none of the keys")
	q.Bundles, q.Keys = [][]byte{text(image)}, [][]byte{other}
	want(t, "another key", q, "", "by none of the keys")
	q.Bundles = [][]byte{[]byte("{}"), []byte("x")}
	want(t, "no bundle", q, "", "cannot read bundle")
}

func marshal(t *testing.T, b *protobundle.Bundle) []byte {
	t.Helper()
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keyless is an attachment with a certificate and a log's promise.
func keyless(t *testing.T, authority *ca.VirtualSigstore, payload []byte) signature.Attached {
	t.Helper()
	e, err := authority.Sign(subject, issuer, payload)
	if err != nil {
		t.Fatal(err)
	}
	content, err := e.VerificationContent()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := e.SignatureContent()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := e.TlogEntries()
	if err != nil {
		t.Fatal(err)
	}
	entry := entries[0].TransparencyLogEntry()
	p := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(entry.CanonicalizedBody), IntegratedTime: entry.IntegratedTime,
		LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId)}
	stamp, err := authority.RekorSignPayload(p)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"SignedEntryTimestamp": stamp, "Payload": p})
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})
	return signature.Attached{Payload: payload, Signature: base64.StdEncoding.EncodeToString(sig.Signature()), Certificate: string(cert), Log: string(text)}
}

func trusted(tb testing.TB, authority *ca.VirtualSigstore) []byte {
	tb.Helper()
	logs := authority.RekorLogs()
	for id, l := range logs {
		l.ID, _ = hex.DecodeString(id) // it is given in hexadecimal there, which is no log's ID
	}
	r, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authority.FulcioCertificateAuthorities(), nil, nil, logs)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := r.MarshalJSON()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestAttachedByIdentity(t *testing.T) {
	authority, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	me := []signature.Identity{{Issuer: issuer, Subject: subject}}
	q := signature.Request{Name: name, Digest: image, TrustedRoot: trusted(t, authority), Identities: me}
	with := func(a signature.Attached) signature.Request { r := q; r.Attached = []signature.Attached{a}; return r }
	good := keyless(t, authority, simple(name, image))
	want(t, "good", with(good), subject, "")
	want(t, "another authority", with(keyless(t, stranger, simple(name, image))), "", "verif")
	want(t, "another image", with(keyless(t, authority, simple(name, another))), "", "another image")
	unlogged := good
	unlogged.Log = ""
	want(t, "no log", with(unlogged), "", "that a log has seen")
	broken := good
	broken.Log = strings.Replace(good.Log, `"integratedTime":`, `"integratedTime":1`, 1)
	want(t, "another time", with(broken), "", "verif")
	q.Identities = []signature.Identity{{Issuer: issuer, SubjectRegExp: "^.*@example[.]org$"}}
	want(t, "by expression", with(good), subject, "")
	q.Identities = []signature.Identity{{Issuer: issuer, Subject: "somebody@example.org"}}
	want(t, "somebody else", with(good), "", "identit")
	q.Identities = []signature.Identity{{Issuer: "https://id.example.com", Subject: subject}}
	want(t, "another issuer", with(good), "", "identit")
	q.TrustedRoot = []byte("{}")
	want(t, "no root", with(good), "", "trusted root")
}

func FuzzAttached(f *testing.F) {
	f.Add([]byte("{}"), "c2ln", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", `{"SignedEntryTimestamp":"","Payload":{"body":"e30="}}`, []byte("{}"))
	authority, err := ca.NewVirtualSigstore()
	if err != nil {
		f.Fatal(err)
	}
	roots := trusted(f, authority)
	f.Fuzz(func(t *testing.T, payload []byte, sig, cert, log string, b []byte) {
		q := signature.Request{Name: name, Digest: image, TrustedRoot: roots, Identities: []signature.Identity{{Issuer: issuer, Subject: subject}},
			Attached: []signature.Attached{{Payload: payload, Signature: sig, Certificate: cert, Log: log}, {Payload: simple(name, image), Signature: sig, Certificate: cert, Log: log}}, Bundles: [][]byte{b}}
		if a := Image(q); a.Good {
			t.Errorf("nonsense is good: %+v", a)
		}
	})
}
