package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"hoy/cli/manifest"
	"hoy/client"
)

func newManifestPush(a *app) *cobra.Command {
	var purge, insecure bool
	cmd := &cobra.Command{Use: "push [OPTIONS] MANIFEST_LIST", Short: "Push a manifest list to a repository", Args: args(1, 1),
		RunE: a.manifests(&insecure, func(ctx context.Context, m *manifests, args []string) error {
			list := m.whole(args[0])
			if err := m.push(ctx, list); err != nil || !purge {
				return err
			}
			return m.store.Remove(list)
		})}
	f := cmd.Flags()
	f.BoolVar(&insecure, "insecure", false, insecureHelp)
	f.BoolVarP(&purge, "purge", "p", false, "Remove the local manifest list after it was pushed")
	return cmd
}

// push stores the manifests that are in other repositories of the registry, and then the
// index of all.
func (m *manifests) push(ctx context.Context, list string) error {
	entries, err := m.store.List(list)
	if err != nil {
		return err
	}
	target := parseImageName(list)
	for _, e := range entries {
		if p := e.Descriptor.Platform; p == nil || p.OS == "" || p.Architecture == "" {
			return fmt.Errorf("manifest %s must have an OS and Architecture to be pushed to a registry: see 'hoy manifest annotate'", e.Ref)
		}
		if from := parseImageName(e.Ref); from.domain != target.domain {
			return fmt.Errorf("cannot use source images from a different registry than the target image: %s != %s", from.domain, target.domain)
		}
	}
	for _, e := range entries {
		from := parseImageName(e.Ref)
		if from.repository() == target.repository() {
			continue
		}
		o := m.options(list)
		o.From = from.repository()
		to := target.repository() + "@" + e.Descriptor.Digest.String()
		d, err := m.c.ManifestPut(ctx, to, client.Manifest{Descriptor: e.Descriptor, Raw: e.Raw}, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(m.a.Out, "Pushed ref %s with digest: %s\n", to, d.Digest)
	}
	mediaType, raw := manifest.Index(entries)
	d, err := m.c.ManifestPut(ctx, list, client.Manifest{Descriptor: ocispec.Descriptor{MediaType: mediaType}, Raw: raw}, m.options(list))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(m.a.Out, d.Digest)
	return err
}

func newManifestInspect(a *app) *cobra.Command {
	var verbose, insecure bool
	cmd := &cobra.Command{Use: "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST", Short: "Display an image manifest, or manifest list", Args: args(1, 2),
		RunE: a.manifests(&insecure, func(ctx context.Context, m *manifests, args []string) error {
			ref := m.whole(args[len(args)-1])
			if len(args) == 2 {
				e, err := m.store.Get(m.whole(args[0]), ref)
				if err != nil {
					return err
				}
				return m.printOne(e, verbose)
			}
			return m.inspect(ctx, ref, verbose)
		})}
	f := cmd.Flags()
	f.BoolVar(&insecure, "insecure", false, insecureHelp)
	f.BoolVarP(&verbose, "verbose", "v", false, "Show layers and platforms too")
	return cmd
}

// inspect shows a list that is being put together, or else what the registry has.
func (m *manifests) inspect(ctx context.Context, ref string, verbose bool) error {
	entries, err := m.store.List(ref)
	switch {
	case err == nil && verbose:
		return m.print(entries)
	case err == nil:
		_, raw := manifest.Index(entries)
		_, err := fmt.Fprintf(m.a.Out, "%s\n", raw)
		return err
	case !errors.Is(err, manifest.ErrNone):
		return err
	}
	got, err := m.get(ctx, ref)
	if err != nil {
		return err
	}
	if t := got.Descriptor.MediaType; t == manifest.DockerList || t == ocispec.MediaTypeImageIndex {
		return m.inspectIndex(ctx, ref, got.Raw, verbose)
	}
	e, err := manifest.NewEntry(ref, got.Descriptor, got.Raw)
	if err != nil {
		return err
	}
	return m.printOne(e, verbose)
}

func (m *manifests) inspectIndex(ctx context.Context, ref string, raw []byte, verbose bool) error {
	if !verbose {
		return m.indent(raw, "   ")
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("cannot read the index of %s: %w", ref, err)
	}
	n := parseImageName(ref)
	entries := []*manifest.Entry{}
	for _, d := range index.Manifests {
		n.digest = d.Digest.String()
		e, err := m.fetch(ctx, n.String())
		if err != nil {
			return err
		}
		e.Descriptor.Platform = d.Platform
		entries = append(entries, e)
	}
	return m.print(entries)
}

func (m *manifests) printOne(e *manifest.Entry, verbose bool) error {
	if verbose {
		return m.print(e)
	}
	return m.indent(e.Raw, "\t")
}

func (m *manifests) print(v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.a.Out, "%s\n", b)
	return err
}

func (m *manifests) indent(raw []byte, by string) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", by); err != nil {
		return fmt.Errorf("cannot read the manifest: %w", err)
	}
	_, err := fmt.Fprintln(m.a.Out, b.String())
	return err
}
