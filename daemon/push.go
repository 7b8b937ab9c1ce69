package daemon

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/auxprogress"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"

	"hoy/image"
	"hoy/lib/fault"
	"hoy/registry"
	"hoy/server"
)

// Push sends an image to its registry, or with a bare name all images of the repository.
func (i images) Push(ctx context.Context, named reference.Named, o server.ImageTransferOptions, say server.Progress) error {
	refs := []reference.Named{named}
	if reference.IsNameOnly(named) {
		if refs = i.tagsOf(ctx, named); len(refs) == 0 {
			return fault.New(fault.NotFound, "An image does not exist locally with the tag: %s", reference.FamiliarName(named))
		}
	} else if _, err := i.store.Get(ctx, named.String()); fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "tag does not exist: %s", reference.FamiliarString(named))
	}
	repo, err := i.registries().Repository(ctx, named, transferAuth(o))
	if err != nil {
		return err
	}
	say(jsonstream.Message{Status: fmt.Sprintf("The push refers to repository [%s]", named.Name())})
	for _, ref := range refs {
		if err := i.push(ctx, ref, repo, o, say); err != nil {
			return err
		}
	}
	return nil
}

// tagsOf lists the names with tags that are of a repository.
func (i images) tagsOf(ctx context.Context, repository reference.Named) (refs []reference.Named) {
	all, err := i.store.List(ctx)
	if err != nil {
		return nil
	}
	for _, img := range all {
		for _, t := range img.RepoTags {
			if ref, err := reference.ParseNormalizedNamed(t); err == nil && ref.Name() == repository.Name() {
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

func (i images) push(ctx context.Context, ref reference.Named, repo *registry.Repository, o server.ImageTransferOptions, say server.Progress) error {
	sent, err := i.store.Push(ctx, ref, repo, image.PushOptions{Platform: o.Platform, Progress: func(p image.Progress) { say(pushMessage(p)) }})
	if err != nil {
		return err
	}
	if sent.Instead != nil {
		say(aux(auxprogress.ManifestPushedInsteadOfIndex{ManifestPushedInsteadOfIndex: true, OriginalIndex: *sent.Instead, SelectedManifest: sent.Target}))
	}
	if t, ok := ref.(reference.Tagged); ok {
		say(jsonstream.Message{Status: fmt.Sprintf("%s: digest: %s size: %d", t.Tag(), sent.Target.Digest, sent.Target.Size)})
		say(aux(pushed{t.Tag(), sent.Target.Digest.String(), sent.Target.Size}))
	}
	i.event(events.ActionPush, reference.FamiliarString(ref), reference.FamiliarName(ref), sent.Labels)
	return nil
}

// pushed is what programs read of a push.
type pushed struct {
	Tag    string
	Digest string
	Size   int64
}

func aux(v any) jsonstream.Message {
	b, _ := json.Marshal(v) // texts and numbers can always be encoded
	raw := json.RawMessage(b)
	return jsonstream.Message{Aux: &raw}
}

// pushMessage is what docker's clients show of a step.
func pushMessage(p image.Progress) jsonstream.Message {
	m := jsonstream.Message{ID: p.Digest.Encoded()[:12], Progress: &jsonstream.Progress{}}
	switch p.State {
	case image.Preparing:
		m.Status = "Preparing"
	case image.Pushing:
		m.Status, m.Progress = "Pushing", &jsonstream.Progress{Current: p.Current, Total: p.Total}
	case image.Pushed:
		m.Status = "Pushed"
	case image.There:
		m.Status = "Layer already exists"
	case image.Mounted:
		m.Status = "Mounted from " + p.From
	}
	return m
}
