package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"hoy/cli/manifest"
	"hoy/client"
)

// manifests is what the commands of the group have: the store, and the way to registries
// through the engine.
type manifests struct {
	a        *app
	c        *client.Client
	store    manifest.Store
	index    string // the default registry's
	insecure bool
}

// manifests makes a command's function of one that needs them.
func (a *app) manifests(insecure *bool, f func(ctx context.Context, m *manifests, args []string) error) func(*cobra.Command, []string) error {
	return a.do(func(ctx context.Context, c *client.Client, args []string) error {
		index, err := index(ctx, c)
		if err != nil {
			return err
		}
		m := &manifests{a: a, c: c, index: index, store: manifest.Store{Dir: filepath.Join(a.choice().Dir(), "manifests")}}
		if insecure != nil {
			m.insecure = *insecure
		}
		return f(ctx, m, args)
	})
}

// whole is a name with its registry, and a tag or digest.
func (m *manifests) whole(text string) string {
	n := parseImageName(text)
	if n.bare() {
		n.tag = "latest"
	}
	return n.full(m.index)
}

func (m *manifests) options(ref string) client.ManifestOptions {
	return client.ManifestOptions{Auth: m.a.credentials(parseImageName(ref).server(m.index)), Insecure: m.insecure}
}

// get fetches a manifest. That there is none is said in docker's words.
func (m *manifests) get(ctx context.Context, ref string) (client.Manifest, error) {
	got, err := m.c.ManifestGet(ctx, ref, m.options(ref))
	if client.StatusOf(err) == http.StatusNotFound {
		err = fmt.Errorf("no such manifest: %s", ref)
	}
	return got, err
}

// fetch gives the entry of an image in its registry.
func (m *manifests) fetch(ctx context.Context, ref string) (*manifest.Entry, error) {
	got, err := m.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	return manifest.NewEntry(ref, got.Descriptor, got.Raw)
}

const insecureHelp = "The registry may be one without TLS, or without a certificate to be trusted"

func newManifestCreate(a *app) *cobra.Command {
	var amend, insecure bool
	cmd := &cobra.Command{Use: "create [OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]", Short: "Create a local manifest list for annotating and pushing to a registry", Args: args(2, -1),
		RunE: a.manifests(&insecure, func(ctx context.Context, m *manifests, args []string) error {
			return m.create(ctx, args[0], args[1:], amend)
		})}
	f := cmd.Flags()
	f.BoolVarP(&amend, "amend", "a", false, "Add to a list that there is")
	f.BoolVar(&insecure, "insecure", false, insecureHelp)
	return cmd
}

// create fetches all manifests before it keeps the first.
func (m *manifests) create(ctx context.Context, name string, images []string, amend bool) error {
	list := m.whole(name)
	// The engine, which knows what a name may be, hears of it when it is pushed.
	if n := parseImageName(name); n.path == "" || strings.ToLower(n.path) != n.path {
		return fmt.Errorf("error parsing name for manifest list %s: invalid reference format: repository name (%s) must be lowercase", name, n.path)
	}
	if m.store.Has(list) && !amend {
		return errors.New("refusing to amend an existing manifest list with no --amend flag")
	}
	var entries []*manifest.Entry
	for _, text := range images {
		ref := m.whole(text)
		e, err := m.store.Get(list, ref)
		if err != nil { // also where a file cannot be read: it is replaced
			if e, err = m.fetch(ctx, ref); err != nil {
				return err
			}
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		if err := m.store.Put(list, e.Ref, e); err != nil {
			return fmt.Errorf("cannot keep the list %s: %w", list, err)
		}
	}
	_, err := fmt.Fprintln(m.a.Out, "Created manifest list", list)
	return err
}

func newManifestAnnotate(a *app) *cobra.Command {
	var p ocispec.Platform
	cmd := &cobra.Command{Use: "annotate [OPTIONS] MANIFEST_LIST MANIFEST", Short: "Add additional information to a local image manifest", Args: args(2, 2),
		RunE: a.manifests(nil, func(ctx context.Context, m *manifests, args []string) error { return m.annotate(args[0], args[1], p) })}
	f := cmd.Flags()
	f.StringVar(&p.Architecture, "arch", "", "Architecture of the image")
	f.StringVar(&p.OS, "os", "", "Operating system of the image")
	f.StringSliceVar(&p.OSFeatures, "os-features", nil, "Features that its operating system must have")
	f.StringVar(&p.OSVersion, "os-version", "", "Version of its operating system")
	f.StringVar(&p.Variant, "variant", "", "Variant of the architecture")
	return cmd
}

func (m *manifests) annotate(name, image string, p ocispec.Platform) error {
	list, ref := m.whole(name), m.whole(image)
	e, err := m.store.Get(list, ref)
	if errors.Is(err, manifest.ErrNone) {
		return fmt.Errorf("manifest for image %s does not exist in %s", image, name)
	}
	if err != nil {
		return err
	}
	if e.Descriptor.Platform == nil {
		e.Descriptor.Platform = &ocispec.Platform{}
	}
	to := e.Descriptor.Platform
	for _, s := range []struct {
		to   *string
		text string
	}{{&to.OS, p.OS}, {&to.Architecture, p.Architecture}, {&to.OSVersion, p.OSVersion}, {&to.Variant, p.Variant}} {
		if s.text != "" {
			*s.to = s.text
		}
	}
	for _, f := range p.OSFeatures {
		if !slices.Contains(to.OSFeatures, f) {
			to.OSFeatures = append(to.OSFeatures, f)
		}
	}
	if !manifest.Known(to.OS, to.Architecture) {
		return fmt.Errorf("manifest entry for image has unsupported os/arch combination: %s/%s", to.OS, to.Architecture)
	}
	return m.store.Put(list, ref, e)
}

func newManifestRm(a *app) *cobra.Command {
	return &cobra.Command{Use: "rm MANIFEST_LIST [MANIFEST_LIST...]", Short: "Delete one or more manifest lists from local storage", Args: args(1, -1),
		RunE: a.manifests(nil, func(_ context.Context, m *manifests, args []string) error {
			return a.each(args, func(name string) error {
				if err := m.store.Remove(m.whole(name)); err != nil {
					return err
				}
				return errQuiet
			})
		})}
}
