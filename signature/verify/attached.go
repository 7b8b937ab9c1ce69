package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"hoy/signature"
)

// promise is the transparency log's promise in cosign's form.
type promise struct {
	SignedEntryTimestamp []byte
	Payload              struct {
		Body           string `json:"body"` // base64
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"` // hexadecimal
	}
}

// fromAttached puts a signature of cosign's form with its certificate into a bundle of
// the first version, which allows a log's promise in place of its proof.
func fromAttached(s signature.Attached, sig []byte) (*bundle.Bundle, error) {
	entry, err := logEntry(s.Log)
	if err != nil {
		return nil, fmt.Errorf("the log's promise: %w", err)
	}
	var certs []*protocommon.X509Certificate
	for rest := []byte(s.Certificate + "\n" + s.Chain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certs = append(certs, &protocommon.X509Certificate{RawBytes: block.Bytes})
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("its certificate is not PEM")
	}
	sum := sha256.Sum256(s.Payload)
	return bundle.NewBundle(&protobundle.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: certs[:1]}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry},
		},
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     sig,
		}},
	})
}

func logEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var p promise
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, err
	}
	body, err := base64.StdEncoding.DecodeString(p.Payload.Body)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(p.Payload.LogID)
	if err != nil {
		return nil, err
	}
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(body, &kind); err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          p.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:    p.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: p.SignedEntryTimestamp},
		CanonicalizedBody: body,
	}, nil
}
