package image

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"hoy/lib/fault"
)

// TestCarry brings in what the engine carries when it is used, and only then.
func TestCarry(t *testing.T) {
	s, ctx := open(t, Options{Root: t.TempDir()}), t.Context()
	content := archive(t, file("f", "x"))
	installs := 0
	s.Carry("carried/image:latest", func(ctx context.Context) error {
		installs++
		_, err := s.Import(ctx, bytes.NewReader(content), ImportOptions{Ref: "carried/image"})
		return err
	})
	if _, err := s.Get(ctx, "carried/image"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a look: %v", err)
	}
	for _, other := range []string{"carried/image:2", "carried/other", "another/carried/image"} {
		if _, _, err := s.Hold(ctx, other, nil); !fault.Is(err, fault.NotFound) || installs > 0 {
			t.Errorf("%s: %v, %d installs", other, err, installs)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			im, release, err := s.Hold(ctx, "carried/image", nil)
			if err != nil || im.RepoTags[0] != "carried/image:latest" {
				t.Error(err)
				return
			}
			release()
		})
	}
	all.Wait()
	if err := s.Tag(ctx, "carried/image", "mine"); err != nil || installs != 1 {
		t.Errorf("%v, %d installs", err, installs)
	}
}
