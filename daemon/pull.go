package daemon

import (
	"context"
	"fmt"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/image"
	"hoy/registry"
	"hoy/server"
	"hoy/signature"
)

// Pull brings in an image from its registry, or with a bare name all images of the
// repository.
func (i images) Pull(ctx context.Context, named reference.Named, o server.ImageTransferOptions, say server.Progress) error {
	repo, err := i.registries().Repository(ctx, named, transferAuth(o))
	if err != nil {
		return err
	}
	if !reference.IsNameOnly(named) {
		return i.pull(ctx, named, repo, o, say)
	}
	tags, err := repo.Tags(ctx)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		ref, err := reference.WithTag(named, tag)
		if err != nil {
			return fmt.Errorf("the registry lists a tag that is none: %w", err)
		}
		if err := i.pull(ctx, ref, repo, o, say); err != nil {
			return fmt.Errorf("error pulling %s: %w", reference.FamiliarString(ref), err)
		}
	}
	return nil
}

func (i images) pull(ctx context.Context, ref reference.Named, repo *registry.Repository, o server.ImageTransferOptions, say server.Progress) error {
	got, err := i.store.Pull(ctx, ref, repo, image.PullOptions{
		Platform: o.Platform,
		Progress: func(p image.Progress) { say(pullMessage(ref, p)) },
		Check: func(ctx context.Context, target ocispec.Descriptor) error {
			return i.check(ctx, ref, repo, target, say)
		},
	})
	if err != nil {
		return explainLimit(err)
	}
	name := reference.FamiliarString(ref)
	say(jsonstream.Message{Status: "Digest: " + got.Target.Digest.String()})
	if got.Newer {
		say(jsonstream.Message{Status: "Status: Downloaded newer image for " + name})
	} else {
		say(jsonstream.Message{Status: "Status: Image is up to date for " + name})
	}
	i.event(events.ActionPull, name, reference.FamiliarName(ref), got.Image.Config.Config.Labels)
	return nil
}

// check applies the signature policy, where there is one.
func (i images) check(ctx context.Context, ref reference.Named, repo *registry.Repository, target ocispec.Descriptor, say server.Progress) error {
	policy := i.signatures()
	if policy == nil {
		return nil
	}
	program, err := beside("hoy-verify")
	if err != nil {
		return err
	}
	c := signature.Checker{Policy: policy, Program: program}
	by, err := c.Check(ctx, repo, reference.TrimNamed(ref), target.Digest)
	if err == nil && by != "" {
		say(jsonstream.Message{Status: "Signature: good, by " + by})
	}
	return err
}

// pullMessage is what docker's clients show of a step.
func pullMessage(ref reference.Named, p image.Progress) jsonstream.Message {
	if p.State == image.Resolved {
		of := ref.String()
		if t, ok := ref.(reference.Tagged); ok {
			of = t.Tag()
		}
		return jsonstream.Message{ID: of, Status: "Pulling from " + reference.Path(ref)}
	}
	done := p.State == image.Downloaded || p.State == image.Complete || p.State == image.Present
	m := jsonstream.Message{ID: p.Digest.Encoded()[:12], Progress: &jsonstream.Progress{HideCounts: done}}
	switch p.State {
	case image.Begun:
		m.Status = "Pulling fs layer"
	case image.Waiting:
		m.Status = "Waiting"
	case image.Downloading:
		m.Status = "Downloading"
	case image.Verifying:
		m.Status = "Verifying Checksum"
	case image.Downloaded:
		m.Status = "Download complete"
	case image.Extracting:
		m.Status = "Extracting"
	case image.Complete:
		m.Status = "Pull complete"
	case image.Present:
		m.Status = "Already exists"
	}
	if p.State == image.Downloading || p.State == image.Extracting {
		m.Progress = &jsonstream.Progress{Current: p.Current, Total: p.Total}
	}
	return m
}
