package image

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// fetching is the part of a Store that fetches blobs.
type fetching struct {
	downloads gate // blobs being fetched
	uploads   gate // blobs being sent
	unpacking gate // layers being unpacked from blobs that are being fetched

	fetchMu sync.Mutex
	fetches map[digest.Digest]*fetch
	turns   map[digest.Digest]chan struct{} // manifests whose layers are being unpacked
}

// SetTransfers says how many layers all pulls may fetch at a time, and all pushes send;
// 0: any number.
func (s *Store) SetTransfers(downloads, uploads int) {
	s.downloads.set(downloads)
	s.uploads.set(uploads)
}

// gate lets a number of goroutines through at a time, in the order in which they came.
// The number may change at any time. The zero value lets everybody through.
type gate struct {
	mu      sync.Mutex
	limit   int // 0: none
	inside  int
	waiting []chan struct{}
}

func (g *gate) set(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.admit()
}

// admit lets in whom there is room for. The caller holds mu.
func (g *gate) admit() {
	for len(g.waiting) > 0 && (g.limit <= 0 || g.inside < g.limit) {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.inside++
	}
}

// enter waits for its turn; leave must follow when there is no error.
func (g *gate) enter(ctx context.Context) error {
	turn := make(chan struct{})
	g.mu.Lock()
	g.waiting = append(g.waiting, turn)
	g.admit()
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == turn {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	g.inside-- // its turn has come meanwhile
	g.admit()
	return ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.admit()
}
