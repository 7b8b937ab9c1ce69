// Package verify verifies signatures of images by sigstore's library. Nothing is asked of
// a network: keys, authorities and logs are those of the request.
package verify

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	sigs "github.com/sigstore/sigstore/pkg/signature"

	"hoy/signature"
)

// Image tries every signature until one is good.
func Image(q signature.Request) (a signature.Answer) {
	v, err := newVerifier(q)
	if err != nil {
		return signature.Answer{Reasons: []string{err.Error()}}
	}
	try := func(by string, err error) {
		if err != nil {
			a.Reasons = append(a.Reasons, err.Error())
		} else if !a.Good {
			a.Good, a.By = true, by
		}
	}
	for _, s := range q.Attached {
		try(v.attached(s))
	}
	for _, b := range q.Bundles {
		try(v.bundle(b))
	}
	return a
}

type verifier struct {
	q          signature.Request
	digest     digest.Digest
	keys       []sigs.Verifier
	root       *root.TrustedRoot
	identities []verify.PolicyOption
}

func newVerifier(q signature.Request) (*verifier, error) {
	v := &verifier{q: q}
	var err error
	if v.digest, err = digest.Parse(q.Digest); err != nil {
		return nil, err
	}
	for _, b := range q.Keys {
		pub, err := cryptoutils.UnmarshalPEMToPublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("cannot read public key: %w", err)
		}
		k, err := sigs.LoadVerifier(pub, crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("cannot use public key: %w", err)
		}
		v.keys = append(v.keys, k)
	}
	if q.TrustedRoot != nil {
		if v.root, err = root.NewTrustedRootFromJSON(q.TrustedRoot); err != nil {
			return nil, fmt.Errorf("cannot read trusted root: %w", err)
		}
	}
	for _, i := range q.Identities {
		id, err := verify.NewShortCertificateIdentity(i.Issuer, "", i.Subject, i.SubjectRegExp)
		if err != nil {
			return nil, err
		}
		v.identities = append(v.identities, verify.WithCertificateIdentity(id))
	}
	return v, nil
}

// payload is what cosign signs (Red Hat's simple signing).
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
}

// about makes sure that what was signed is this image, under this name.
func (v *verifier) about(text []byte) error {
	var p payload
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("what was signed is not about an image: %w", err)
	}
	if p.Critical.Image.Digest != v.digest.String() {
		return fmt.Errorf("it was made for another image, %s", p.Critical.Image.Digest)
	}
	n, err := reference.ParseNormalizedNamed(p.Critical.Identity.Reference)
	if err != nil || reference.TrimNamed(n).Name() != v.q.Name {
		return fmt.Errorf("it was made for another repository, %q", p.Critical.Identity.Reference)
	}
	return nil
}

// attached verifies a signature in cosign's form.
func (v *verifier) attached(s signature.Attached) (by string, err error) {
	if err := v.about(s.Payload); err != nil {
		return "", err
	}
	sig, err := base64.StdEncoding.DecodeString(s.Signature)
	if err != nil {
		return "", fmt.Errorf("signature: %w", err)
	}
	for _, k := range v.keys {
		if k.VerifySignature(bytes.NewReader(sig), bytes.NewReader(s.Payload)) == nil {
			return keyName(k), nil
		}
	}
	switch {
	case v.root == nil:
		return "", errors.New("by none of the keys")
	case s.Certificate == "" || s.Log == "":
		return "", errors.New("by none of the keys, and without a certificate that a log has seen")
	}
	b, err := fromAttached(s, sig)
	if err != nil {
		return "", err
	}
	return v.byIdentity(b, verify.WithArtifact(bytes.NewReader(s.Payload)))
}

// bundle verifies a bundle of sigstore's: of a statement about the image, or of the
// image's digest itself.
func (v *verifier) bundle(text []byte) (by string, err error) {
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(text); err != nil {
		return "", fmt.Errorf("cannot read bundle: %w", err)
	}
	sum, err := hex.DecodeString(v.digest.Encoded())
	if err != nil {
		return "", err
	}
	artifact := verify.WithArtifactDigest(v.digest.Algorithm().String(), sum)
	content, err := b.VerificationContent()
	if err != nil {
		return "", err
	}
	if content.PublicKey() == nil {
		return v.byIdentity(b, artifact)
	}
	for _, k := range v.keys {
		material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
			return root.NewExpiringKey(k, time.Time{}, time.Time{}), nil
		})
		check, err := verify.NewVerifier(material, verify.WithNoObserverTimestamps())
		if err != nil {
			return "", err
		}
		if _, err := check.Verify(b, verify.NewPolicy(artifact, verify.WithKey())); err == nil {
			return keyName(k), nil
		}
	}
	return "", errors.New("by none of the keys")
}

// byIdentity verifies by a certificate, which a log must have seen: it is long expired.
func (v *verifier) byIdentity(b *bundle.Bundle, artifact verify.ArtifactPolicyOption) (string, error) {
	if v.root == nil {
		return "", errors.New("by a certificate, and the policy has no trustedRoot")
	}
	o := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if len(v.root.CTLogs()) > 0 {
		o = append(o, verify.WithSignedCertificateTimestamps(1))
	}
	check, err := verify.NewVerifier(v.root, o...)
	if err != nil {
		return "", err
	}
	res, err := check.Verify(b, verify.NewPolicy(artifact, v.identities...))
	if err != nil {
		return "", err
	}
	return res.Signature.Certificate.SubjectAlternativeName, nil
}

// keyName names a key by the digest of its public half.
func keyName(k sigs.Verifier) string {
	pub, err := k.PublicKey()
	if err != nil {
		return "a key"
	}
	der, err := cryptoutils.MarshalPublicKeyToDER(pub)
	if err != nil {
		return "a key"
	}
	return "key " + digest.FromBytes(der).String()[:19]
}
