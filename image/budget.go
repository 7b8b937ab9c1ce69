package image

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	apiimage "github.com/moby/moby/api/types/image"
	"github.com/opencontainers/go-digest"
)

// Budget keeps images below a size.
type Budget struct {
	// Bytes that all blobs and layers together may take; 0: no limit. It is asked
	// for anew each time.
	Bytes func() int64
	// Uses returns what containers use: it stays.
	Uses func() []Use
	// Removed is told of each image that went: its names, what was deleted and how
	// many bytes that frees.
	Removed func(im *Image, what []apiimage.DeleteResponse, freed int64)
}

const (
	budgetEvery = 5 * time.Minute
	usedDelay   = 10 * time.Second // from a use until it is written
)

// KeepBudget begins to remove in the background, whenever an image has come and now and
// then, images that no container uses while all together are larger than the budget:
// those without a name first, then those used longest ago. The one used last stays even
// if it alone is larger, as somebody has just fetched it to run it; so does what has come
// since the oldest operation under way began. What would free nothing, because others
// have the same layers, stays too. KeepBudget is called once.
func (s *Store) KeepBudget(b Budget) {
	s.work.Go(func() {
		tick := time.NewTicker(budgetEvery)
		defer tick.Stop()
		save := time.NewTimer(usedDelay)
		defer save.Stop()
		for {
			select {
			case <-s.closed:
				s.saveUses()
				return
			case <-save.C:
				s.saveUses()
				continue
			case <-s.usedNow:
				save.Reset(usedDelay)
				continue
			case <-tick.C:
			case <-s.trim:
			}
			if err := s.trimTo(context.Background(), b); err != nil {
				slog.Warn("cannot keep images below the disk budget", "error", err)
			}
			s.saveUses()
		}
	})
}

// TrimSoon has the budget kept now, as after a change of its size.
func (s *Store) TrimSoon() { signal(s.trim) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

func (s *Store) saveUses() {
	ix := s.index.Load()
	s.used.save(func(d digest.Digest) bool { return ix.targets[d] != nil })
}

func (s *Store) usedImage(im *Image) {
	s.used.touch(im.Target.Digest)
	signal(s.usedNow)
}

// trimTo removes one image after the other until the rest is below the budget.
func (s *Store) trimTo(ctx context.Context, b Budget) error {
	uses := b.Uses()
	for _, u := range uses {
		if im := s.index.Load().targets[digest.Digest(u.ID)]; im != nil {
			s.used.touch(im.Target.Digest)
		}
	}
	budget := b.Bytes()
	if budget <= 0 || !s.collectable() {
		return nil
	}
	for {
		im, what, freed, err := s.trimOne(namespaced(ctx), budget, b.Uses)
		if err != nil || im == nil {
			return err
		}
		b.Removed(im, what, freed)
	}
}

// trimOne removes the image that is to go first, nil if none is.
func (s *Store) trimOne(ctx context.Context, budget int64, uses func() []Use) (*Image, []apiimage.DeleteResponse, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.weigh(ctx)
	if err != nil || l.total <= budget {
		return nil, nil, 0, err
	}
	ix := s.index.Load()
	for _, im := range s.expendable(ix, uses()) {
		if !l.frees(im) {
			continue
		}
		what, freed, err := s.take(ctx, ix.namesOf(im.Target.Digest))
		return im, what, freed, err
	}
	return nil, nil, 0, nil
}

// expendable lists the images that nothing uses, the first to go first.
func (s *Store) expendable(ix *index, uses []Use) []*Image {
	used, chains := map[string]bool{}, map[string]bool{}
	for _, u := range uses {
		used[u.ID] = true
	}
	for _, c := range s.inUse() {
		chains[c] = true
	}
	oldest := s.begun.oldest()
	type candidate struct {
		im   *Image
		last time.Time
	}
	var all []candidate
	for _, im := range ix.list {
		if last := s.used.of(im.Target.Digest, im.LastTagTime); last.Before(oldest) {
			all = append(all, candidate{im, last})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(a.last.Compare(b.last), strings.Compare(a.im.ID, b.im.ID))
	})
	if len(all) > 0 && len(all) == len(ix.list) {
		all = all[:len(all)-1] // the one used last
	}
	var dangling, named []*Image
	for _, c := range all {
		switch {
		case used[c.im.ID] || c.im.ChainID != "" && chains[c.im.ChainID]:
		case len(c.im.RepoTags) == 0:
			dangling = append(dangling, c.im)
		default:
			named = append(named, c.im)
		}
	}
	return append(dangling, named...)
}

// load is what images weigh, and who shares what.
type load struct {
	total  int64
	owners map[string]int      // of layers, unpacked or not
	layers map[string][]string // by image ID
}

func (s *Store) weigh(ctx context.Context) (load, error) {
	l := load{owners: map[string]int{}, layers: map[string][]string{}}
	var err error
	if _, l.total, err = s.Sizes(ctx); err != nil {
		return l, err
	}
	for _, im := range s.index.Load().list {
		for _, b := range im.blobs {
			l.add(im, b.Digest.String())
		}
		im.eachLayer(func(chain string, _ int64) { l.add(im, "layer "+chain) })
	}
	return l, nil
}

func (l *load) add(im *Image, part string) {
	l.owners[part]++
	l.layers[im.ID] = append(l.layers[im.ID], part)
}

// frees reports whether something of the image is its own.
func (l *load) frees(im *Image) bool {
	return slices.ContainsFunc(l.layers[im.ID], func(part string) bool { return l.owners[part] == 1 })
}
