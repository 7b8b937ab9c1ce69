package image

import (
	"context"
	"sync"

	"hoy/lib/fault"
)

// builtIn is an image that the engine carries.
type builtIn struct {
	mu      sync.Mutex // one installs it
	name    string     // familiar, with its tag
	install func(context.Context) error
}

// Carry names an image that install brings in when somebody uses it and it is not
// here: a store that nobody has used is empty. Carry is called once, before others.
func (s *Store) Carry(name string, install func(context.Context) error) {
	s.carried.name, s.carried.install = name, install
}

// demand is Get for who is about to use the image.
func (s *Store) demand(ctx context.Context, ref string) (*Image, error) {
	im, err := s.Get(ctx, ref)
	if s.carried.install == nil || !fault.Is(err, fault.NotFound) || withTag(ref) != s.carried.name {
		return im, err
	}
	s.carried.mu.Lock()
	defer s.carried.mu.Unlock()
	if im, err := s.Get(ctx, ref); err == nil {
		return im, nil
	}
	if err := s.carried.install(ctx); err != nil {
		return nil, err
	}
	return s.Get(ctx, ref)
}
