package image

import (
	"context"
	"errors"

	apiimage "github.com/moby/moby/api/types/image"
)

func (s *Store) Remove(ctx context.Context, ref string, force bool, users func(imageID string) []User) ([]apiimage.DeleteResponse, error) {
	return nil, errors.ErrUnsupported
}
