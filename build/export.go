package build

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
)

// imageExporter puts images into the store, as BuildKit's does, with docker's ways: a
// name has a tag, an image without a name is kept as a dangling one, and what was built
// can be run at once.
type imageExporter struct {
	exporter.Exporter
	b *Builder
}

func (e *imageExporter) Resolve(ctx context.Context, id int, asked map[string]string) (exporter.ExporterInstance, error) {
	attrs := maps.Clone(asked)
	if attrs == nil {
		attrs = map[string]string{}
	}
	names, err := fullNames(attrs[string(exptypes.OptKeyName)])
	if err != nil {
		return nil, err
	}
	store := true
	if v, has := attrs[string(exptypes.OptKeyStore)]; has && v != "" {
		if store, err = strconv.ParseBool(v); err != nil {
			return nil, fault.New(fault.Invalid, "store=%s is neither true nor false", v)
		}
	}
	// It pushes by these names, and keeps nothing: that is done here.
	attrs[string(exptypes.OptKeyName)] = strings.Join(names, ",")
	attrs[string(exptypes.OptKeyStore)] = "false"
	for _, key := range []exptypes.ImageExporterOptKey{exptypes.OptKeyUnpack, exptypes.OptKeyDanglingPrefix, exptypes.OptKeyDanglingEmptyOnly} {
		delete(attrs, string(key))
	}
	x, err := e.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	return &imageExport{ExporterInstance: x, b: e.b, attrs: asked, store: store}, nil
}

// fullNames completes names that are separated by commas. One without a repository, a
// digest alone, is nobody's name.
func fullNames(list string) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if name == "*" { // BuildKit: the name that the source says
			return []string{name}, nil
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid reference format: %q: %w", name, err)
		}
		if _, digested := ref.(reference.Digested); digested {
			return nil, fault.New(fault.Invalid, "build tag cannot contain a digest: %q", name)
		}
		full := reference.TagNameOnly(ref).String()
		if !seen[full] {
			seen[full] = true
			names = append(names, full)
		}
	}
	return names, nil
}

type imageExport struct {
	exporter.ExporterInstance
	b     *Builder
	attrs map[string]string // as the client gave them
	store bool
}

func (e *imageExport) Attrs() map[string]string { return e.attrs }

func (e *imageExport) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	out, finalize, ref, err := e.ExporterInstance.Export(ctx, src, info)
	if err != nil || !e.store {
		return out, finalize, ref, err
	}
	if err := e.keep(ctx, src, info, out, ref.Descriptor()); err != nil {
		ref.Release()
		return nil, nil, nil, err
	}
	return out, finalize, ref, nil
}

// keep makes the result an image of the store.
func (e *imageExport) keep(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo, out map[string]string, target ocispec.Descriptor) error {
	if err := fetchLazy(ctx, src, info.SessionID); err != nil {
		return err
	}
	var names []string
	if list := out[exptypes.ExporterImageNameKey]; list != "" {
		names = strings.Split(list, ",")
	}
	said := progress.OneOff(ctx, "naming to "+cmp.Or(strings.Join(names, ", "), target.Digest.String()))
	if err := said(e.b.o.Images.AddBuilt(ctx, names, target, snapshotsOf(ctx, src))); err != nil {
		return err
	}
	if e.b.o.Exported != nil {
		e.b.o.Exported(ctx, target)
	}
	for _, name := range names {
		if e.b.o.Named != nil {
			e.b.o.Named(ctx, name, target)
		}
	}
	return nil
}

// fetchLazy brings in the blobs of the result that no step has needed so far.
func fetchLazy(ctx context.Context, src *exporter.Source, sessionID string) error {
	refs := slices.Collect(maps.Values(src.Refs))
	refs = append(refs, src.Ref)
	for _, ref := range refs {
		if ref == nil {
			continue
		}
		remotes, err := ref.GetRemotes(ctx, false, config.RefConfig{Compression: compression.New(compression.Default)}, false, session.NewGroup(sessionID))
		if err != nil {
			return err
		}
		if lazy, ok := remotes[0].Provider.(cache.Unlazier); ok {
			if err := lazy.Unlazy(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshotsOf lists the snapshots of the result's layers, by chain ID. BuildKit has
// computed that for all of them when it made their blobs.
func snapshotsOf(ctx context.Context, src *exporter.Source) map[string]string {
	found := map[string]string{}
	for _, ref := range append(slices.Collect(maps.Values(src.Refs)), src.Ref) {
		if ref == nil {
			continue
		}
		chain := ref.LayerChain()
		for _, layer := range chain {
			if id := layer.GetString("cache.chainID"); id != "" {
				found[id] = layer.GetString("cache.snapshot")
			}
		}
		chain.Release(context.WithoutCancel(ctx))
	}
	return found
}
