package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"

	"hoy/lib/failpoint"
	"hoy/lib/fault"
)

// Remove removes a name, or the image when ref is its last name or its ID, by
// docker's rules:
//
//   - a name among several is just taken away;
//   - an image that a running container uses is not removed, with force its last
//     name is taken away and it stays as a dangling one;
//   - one that a stopped container uses, or that has names in several repositories
//     and is meant by its ID, needs force.
//
// users returns the containers made from the image with that ID; nil: none. What
// is not needed any more goes in the background; layers that containers pin stay.
func (s *Store) Remove(ctx context.Context, ref string, force bool, users func(imageID string) []User) ([]apiimage.DeleteResponse, error) {
	ctx = namespaced(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.removal(ref, force, users)
	if err != nil {
		return nil, err
	}
	done, err := s.carryOut(ctx, r)
	if err := s.refresh(ctx); err != nil {
		return done, err
	}
	s.collectSoon()
	return done, err
}

// removal is what Remove has decided to do.
type removal struct {
	im     *Image
	untag  []string // stored names
	delete bool     // and the image with them
	dangle bool     // keep the image without name
}

// removal decides, and changes nothing.
func (s *Store) removal(ref string, force bool, users func(string) []User) (removal, error) {
	ix := s.index.Load()
	im, err := ix.find(ref)
	if err != nil {
		return removal{}, err
	}
	all := ix.namesOf(im.Target.Digest)
	r := removal{im: im, untag: all, delete: true}
	byID := im.isID(ref)
	named, same := sameReference(im, ref, all)
	if !byID && len(same) < len(all) {
		r.untag, r.delete = same, false
		return r, nil
	}
	var using []User
	if users != nil {
		using = users(im.ID)
	}
	if !byID && len(using) > 0 {
		if !force {
			return removal{}, fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - container %s is using its referenced image %s",
				reference.FamiliarString(named), short(using[0].Container), short(im.ID))
		}
		r.delete, r.dangle = false, true
		return r, nil
	}
	return r, conflict(im, using, force, byID && repositories(all) > 1)
}

// conflict says why an image cannot be deleted.
func conflict(im *Image, using []User, force, severalNames bool) error {
	if i := slices.IndexFunc(using, func(u User) bool { return u.Running }); i >= 0 {
		return fault.New(fault.Conflict, "conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", short(im.ID), short(using[i].Container))
	}
	if force {
		return nil
	}
	if len(using) > 0 {
		return fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - image is being used by stopped container %s", short(im.ID), short(using[0].Container))
	}
	if severalNames {
		return fault.New(fault.Conflict, "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", short(im.ID))
	}
	return nil
}

// repositories counts the distinct names that are not digests: one may go with the
// image, several must be forced.
func repositories(stored []string) int {
	n := 0
	for _, s := range stored {
		if ref, err := reference.ParseNormalizedNamed(s); err == nil && !isDangling(s) {
			if _, digested := ref.(reference.Digested); !digested {
				n++
			}
		}
	}
	return n
}

// sameReference returns the stored names that ref means: name:tag one, name@digest
// all of that repository.
func sameReference(im *Image, ref string, all []string) (reference.Named, []string) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || im.isID(ref) {
		return nil, all
	}
	_, digested := named.(reference.Digested)
	if !digested {
		named = reference.TagNameOnly(named)
		return named, slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n != named.String() })
	}
	return named, slices.DeleteFunc(slices.Clone(all), func(n string) bool {
		other, err := reference.ParseNormalizedNamed(n)
		return err != nil || isDangling(n) || other.Name() != named.Name()
	})
}

// isID reports whether ref means the image by its ID rather than by a name.
func (im *Image) isID(ref string) bool {
	if !strings.HasPrefix(im.ID, ref) && !strings.HasPrefix(im.Target.Digest.Encoded(), ref) {
		return strings.HasPrefix(ref, danglingPrefix)
	}
	return !slices.ContainsFunc(im.RepoTags, func(t string) bool { return t == ref || t == ref+":latest" })
}

func (ix *index) namesOf(d digest.Digest) []string {
	var names []string
	for n, t := range ix.stored {
		if t == d {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

func (s *Store) carryOut(ctx context.Context, r removal) ([]apiimage.DeleteResponse, error) {
	if r.dangle {
		if err := s.keepDangling(ctx, r.im.Target, r.im.Parent); err != nil {
			return nil, fmt.Errorf("cannot untag %s: %w", r.im.ID, err)
		}
	}
	var out []apiimage.DeleteResponse
	for _, n := range r.untag {
		if r.dangle && isDangling(n) {
			continue
		}
		if err := s.images.Delete(ctx, n); err != nil && !errdefs.IsNotFound(err) {
			return out, fmt.Errorf("cannot untag %s: %w", familiar(n), err)
		}
		if !isDangling(n) {
			out = append(out, apiimage.DeleteResponse{Untagged: familiar(n)})
		}
		if err := failpoint.Hit(failpoint.StoreUntagged); err != nil {
			return out, err
		}
	}
	if r.delete {
		out = append(out, apiimage.DeleteResponse{Deleted: r.im.ID})
	}
	return out, nil
}

// short is an ID as people see it.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}
