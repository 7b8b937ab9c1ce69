package image

import (
	"context"
	"log/slog"

	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/gc"

	"hoy/lib/failpoint"
)

// Collect begins to remove in the background what no image uses. pinned returns the
// chain IDs that containers' records name: their layers stay when their image is
// removed. Where these are not the whole, nothing is removed. It must not wait for the
// store; nil: none. Collect is called once.
func (s *Store) Collect(pinned func() (chains []string, whole bool)) {
	s.pinned = pinned
	s.work.Go(s.collect)
}

// collect runs the garbage collector whenever something was let go. While it marks
// it holds the metadata's write lock; Get and Hold do not need that.
func (s *Store) collect() {
	for {
		select {
		case <-s.closed:
			return
		case <-s.gc:
		}
		_, err := s.collectNow(namespaced(context.Background()))
		if err == nil {
			err = failpoint.Hit(failpoint.StoreCollected)
		}
		if err != nil {
			slog.Warn("cannot collect unused image content", "error", err)
		}
	}
}

// collectNow removes what nothing uses, if it is known of all containers what they use.
func (s *Store) collectNow(ctx context.Context) (gc.Stats, error) {
	if !s.collectable() {
		return metadata.GCStats{}, nil
	}
	return s.meta.GarbageCollect(ctx)
}

func (s *Store) collectSoon() {
	signal(s.gc) // one that is waiting already will see everything
}

// pinResource is a kind of its own in the collector's graph. It has no objects: it
// is the way to name more roots.
const pinResource gc.ResourceType = 0x10

// pins makes the layers that containers use roots of the collection.
type pins struct{ s *Store }

func (p pins) StartCollection(context.Context) (metadata.CollectionContext, error) {
	if err := failpoint.Hit(failpoint.StoreCollectMarking); err != nil {
		return nil, err
	}
	// Holds first: a container's record appears before its hold is released.
	return pinned(p.s.inUse()), nil
}

func (pins) ReferenceLabel() string { return "hoy.pin" }

type pinned []string

func (p pinned) All(func(gc.Node)) {}
func (p pinned) Active(ns string, fn func(gc.Node)) {
	if ns != namespace {
		return
	}
	for _, chain := range p {
		fn(gc.Node{Type: metadata.ResourceSnapshot, Namespace: ns, Key: snapshotter + "/" + chain})
	}
}
func (p pinned) Leased(string, string, func(gc.Node)) {}
func (p pinned) Remove(gc.Node)                       {}
func (p pinned) Cancel() error                        { return nil }
func (p pinned) Finish() error                        { return failpoint.Hit(failpoint.StoreCollectMarked) }

func (s *Store) held() []string {
	s.holdMu.Lock()
	defer s.holdMu.Unlock()
	chains := make([]string, 0, len(s.holds))
	for c := range s.holds {
		chains = append(chains, c)
	}
	return chains
}

// hold keeps a chain's layers until release. release may be called twice.
func (s *Store) hold(chain string) (release func()) {
	s.holdMu.Lock()
	s.holds[chain]++
	s.holdMu.Unlock()
	done := false
	return func() {
		s.holdMu.Lock()
		defer s.holdMu.Unlock()
		if done {
			return
		}
		done = true
		if s.holds[chain]--; s.holds[chain] == 0 {
			delete(s.holds, chain)
		}
	}
}
