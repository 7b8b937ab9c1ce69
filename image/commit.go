package image

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// CommitOptions say what Commit makes.
type CommitOptions struct {
	Ref       string              // name[:tag]; "": a dangling image
	Parent    string              // ID of the image below; "": none
	Manifest  *ocispec.Descriptor // of the image below, for the container's platform
	Config    dockerspec.DockerOCIImageConfig
	Author    string // "": the parent's
	Comment   string
	CreatedBy string // the command that made the changes
	// Layer writes the changes as a tar archive with the whiteouts of the image
	// specification; nil: there are none, and the image gets no layer.
	Layer func(ctx context.Context, w io.Writer) error
}

// Commit makes an image of another one and changes on top of it. The changes are read
// once: hashed, compressed, stored and unpacked at the same time. Until the image is
// there nothing of it is seen, and what an end in between leaves is collected.
func (s *Store) Commit(ctx context.Context, o CommitOptions) (*Image, error) {
	name := ""
	if o.Ref != "" {
		t, err := parseTag(o.Ref)
		if err != nil {
			return nil, err
		}
		name = t.String()
	}
	ctx, done, err := s.lease(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	im, err := s.commit(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("cannot commit: %w", err)
	}
	return im, nil
}

func (s *Store) commit(ctx context.Context, name string, o CommitOptions) (*Image, error) {
	base, err := s.baseOf(ctx, o)
	if err != nil {
		return nil, err
	}
	layers, config := slices.Clone(base.blobs), committed(&base.Config, o)
	if o.Layer != nil {
		blob, diff, st, err := s.changesLayer(ctx, o.Layer)
		if err != nil {
			return nil, err
		}
		defer st.drop()
		layers = append(layers, blob)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
		if err := failpoint.Hit(failpoint.ImageCommitLayer); err != nil {
			return nil, err
		}
		if err := s.commitTop(ctx, config.RootFS.DiffIDs, st); err != nil {
			return nil, err
		}
	}
	target, err := s.putImage(ctx, config, layers)
	if err != nil {
		return nil, err
	}
	if err := s.setChild(ctx, name, target, o.Parent); err != nil {
		return nil, err
	}
	return s.Get(ctx, target.Digest.String())
}

// baseOf reads the image below.
func (s *Store) baseOf(ctx context.Context, o CommitOptions) (*Image, error) {
	if o.Manifest == nil {
		return &Image{Config: dockerspec.DockerOCIImage{Image: ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}}}}, nil
	}
	base, err := s.readManifest(ctx, *o.Manifest)
	if err != nil {
		return nil, fmt.Errorf("the image of the container, %s, cannot be read: %w", o.Parent, err)
	}
	// Containers keep their image's layers, but not its blobs: those are leased, as the image
	// may be removed before there is another one that has them.
	for _, b := range append(slices.Clone(base.blobs), base.config) {
		have, err := s.haveBlob(ctx, b.Digest)
		if err != nil {
			return nil, err
		}
		if !have {
			return nil, fault.New(fault.NotFound, "the image of the container, %s, has been removed: %s is not here", o.Parent, b.Digest)
		}
	}
	return base, nil
}

// committed is the configuration of the new image, its new layer missing yet.
func committed(base *dockerspec.DockerOCIImage, o CommitOptions) dockerspec.DockerOCIImage {
	now := time.Now().UTC()
	author := o.Author
	if author == "" {
		author = base.Author
	}
	return dockerspec.DockerOCIImage{
		Image: ocispec.Image{
			Created: &now, Author: author, Platform: base.Platform,
			RootFS: ocispec.RootFS{Type: "layers", DiffIDs: slices.Clone(base.RootFS.DiffIDs)},
			History: append(slices.Clone(base.History), ocispec.History{
				Created: &now, CreatedBy: o.CreatedBy, Author: author, Comment: o.Comment, EmptyLayer: o.Layer == nil,
			}),
		},
		Config: o.Config,
	}
}

// changesLayer stores and unpacks what write writes.
func (s *Store) changesLayer(ctx context.Context, write func(context.Context, io.Writer) error) (blob ocispec.Descriptor, diff digest.Digest, _ *staged, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, pw := io.Pipe()
	defer r.Close() // ends the writer when this fails
	go func() { pw.CloseWithError(write(ctx, pw)) }()
	return s.plainLayer(ctx, r)
}

// plainLayer hashes, compresses, stores and unpacks a tar archive in one pass.
func (s *Store) plainLayer(ctx context.Context, r io.Reader) (blob ocispec.Descriptor, diff digest.Digest, _ *staged, err error) {
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
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return blob, "", nil, err
	}
	sum := digest.Canonical.Digester()
	if err = fanOut(ctx, r, io.MultiWriter(sum.Hash(), z), func(r io.Reader) error { return st.fill(ctx, r, s.limits()) }); err != nil {
		return blob, "", nil, err
	}
	if err = z.Close(); err != nil {
		return blob, "", nil, err
	}
	diff = sum.Digest()
	blob, err = w.commit(ctx, ocispec.MediaTypeImageLayerGzip, "", map[string]string{labelUncompressed: diff.String()})
	return blob, diff, st, err
}

// commitTop makes st the last of the layers, of which the others are there.
func (s *Store) commitTop(ctx context.Context, diffs []digest.Digest, st *staged) error {
	have, err := s.haveLayer(ctx, chainID(diffs))
	if err != nil {
		return err
	}
	stages := make([]*staged, len(diffs))
	if !have {
		stages[len(diffs)-1] = st
	}
	return s.commitLayers(ctx, diffs, stages)
}

// putImage stores a configuration and its manifest.
func (s *Store) putImage(ctx context.Context, config dockerspec.DockerOCIImage, layers []ocispec.Descriptor) (target ocispec.Descriptor, err error) {
	labels := map[string]string{}
	if chain := chainID(config.RootFS.DiffIDs); chain != "" {
		labels[labelSnapshotRef] = chain
	}
	cd, err := s.putJSON(ctx, ocispec.MediaTypeImageConfig, config, labels)
	if err != nil {
		return target, err
	}
	if layers == nil {
		layers = []ocispec.Descriptor{}
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: cd, Layers: layers}
	labels, err = gcLabels(m.MediaType, func(v any) error { *v.(*ocispec.Manifest) = m; return nil })
	if err != nil {
		return target, err
	}
	return s.putJSON(ctx, m.MediaType, m, labels)
}
