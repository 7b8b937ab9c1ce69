package image

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func (s *Store) Load(ctx context.Context, r io.Reader, platforms ...ocispec.Platform) ([]Loaded, error) {
	return nil, errors.ErrUnsupported
}
