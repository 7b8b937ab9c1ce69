package image

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image/extract"
)

// ImportOptions says what Import makes of a tar archive.
type ImportOptions struct {
	Ref      string            // name[:tag]; "": a dangling image
	Message  string            // the comment in its history
	Changes  []string          // Dockerfile instructions: CMD, ENTRYPOINT, ENV, …
	Platform *ocispec.Platform // nil: this machine's
	Created  time.Time         // zero: now. The ID depends on it
}

// Import makes an image with one layer from the tar archive of a root file system,
// plain or compressed by gzip, zstd, bzip2 or xz. The stream is read once: stored,
// hashed and unpacked at the same time.
//
// The layer's blob is stored as it comes when it is gzip or zstd, and by gzip otherwise,
// as docker's: readers of saved images (go-containerregistry, and so Trivy, Grype, crane)
// take all layers for what the first one is, and those that are built on it are gzip.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions) (*Image, error) {
	name := ""
	if o.Ref != "" {
		t, err := parseTag(o.Ref)
		if err != nil {
			return nil, err
		}
		name = t.String()
	}
	config, err := Changes(o.Changes)
	if err != nil {
		return nil, err
	}
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	layer, diff, st, err := s.importLayer(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("cannot import image: %w", err)
	}
	defer st.drop()
	target, configDigest, err := s.importManifest(ctx, layer, diff, config, o)
	if err != nil {
		return nil, fmt.Errorf("cannot import image: %w", err)
	}
	chain := chainID([]digest.Digest{diff})
	have, err := s.haveLayer(ctx, chain)
	if err != nil {
		return nil, err
	}
	stages := []*staged{st}
	if have {
		stages[0] = nil
	}
	if err := s.commitLayers(ctx, []digest.Digest{diff}, stages); err != nil {
		return nil, fmt.Errorf("cannot import image: %w", err)
	}
	if err := s.label(ctx, configDigest, map[string]string{labelSnapshotRef: chain}); err != nil {
		return nil, err
	}
	if err := s.setName(ctx, name, target); err != nil {
		return nil, fmt.Errorf("cannot import image: %w", err)
	}
	return s.Get(ctx, target.Digest.String())
}

// importLayer stores and unpacks the archive in one pass.
func (s *Store) importLayer(ctx context.Context, r io.Reader) (blob ocispec.Descriptor, diff digest.Digest, _ *staged, err error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return blob, "", nil, err
	}
	switch extract.Detect(head) {
	case extract.Gzip:
		return s.compressedLayer(ctx, br, ocispec.MediaTypeImageLayerGzip)
	case extract.Zstd:
		return s.compressedLayer(ctx, br, ocispec.MediaTypeImageLayerZstd)
	}
	plain, _, err := extract.Decompress(br)
	if err != nil {
		return blob, "", nil, err
	}
	defer plain.Close()
	return s.plainLayer(ctx, plain)
}

// compressedLayer stores r as it is and unpacks it.
func (s *Store) compressedLayer(ctx context.Context, r io.Reader, mediaType string) (blob ocispec.Descriptor, diff digest.Digest, _ *staged, err error) {
	w, err := s.newBlob(ctx)
	if err != nil {
		return blob, "", nil, err
	}
	defer w.drop(ctx)
	st, err := s.newStage()
	if err != nil {
		return blob, "", nil, err
	}
	defer func() {
		if err != nil {
			st.drop()
		}
	}()
	err = fanOut(ctx, r, w, func(r io.Reader) (err error) {
		diff, err = s.digestAndFill(ctx, st, r)
		return err
	})
	if err != nil {
		return blob, "", nil, err
	}
	blob, err = w.commit(ctx, mediaType, "", map[string]string{labelUncompressed: diff.String()})
	return blob, diff, st, err
}

// digestAndFill unpacks a compressed layer and returns the digest of the plain one.
func (s *Store) digestAndFill(ctx context.Context, st *staged, r io.Reader) (digest.Digest, error) {
	plain, _, err := extract.Decompress(r)
	if err != nil {
		return "", err
	}
	defer plain.Close()
	sum := digest.Canonical.Digester()
	err = fanOut(ctx, plain, sum.Hash(), func(r io.Reader) error { return st.fill(ctx, r, s.limits()) })
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // what follows the compressed stream
		return "", err
	}
	return sum.Digest(), nil
}

// importManifest stores the configuration and the manifest of a one-layer image.
func (s *Store) importManifest(ctx context.Context, layer ocispec.Descriptor, diff digest.Digest, config dockerspec.DockerOCIImageConfig, o ImportOptions) (target ocispec.Descriptor, configDigest digest.Digest, err error) {
	created := o.Created
	if created.IsZero() {
		created = time.Now()
	}
	created = created.UTC()
	platform := platforms.DefaultSpec()
	if o.Platform != nil {
		platform = platforms.Normalize(*o.Platform)
	}
	cd, err := s.putJSON(ctx, ocispec.MediaTypeImageConfig, dockerspec.DockerOCIImage{
		Image: ocispec.Image{
			Created:  &created,
			Platform: platform,
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}},
			History:  []ocispec.History{{Created: &created, Comment: o.Message}},
		},
		Config: config,
	}, nil)
	if err != nil {
		return target, "", err
	}
	target, err = s.putJSON(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    cd,
		Layers:    []ocispec.Descriptor{layer},
	}, map[string]string{labelConfigRef: cd.Digest.String(), labelLayerRef + "0": layer.Digest.String()})
	return target, cd.Digest, err
}
