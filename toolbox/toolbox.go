// Package toolbox holds the built-in image hoy/toolbox and installs it.
package toolbox

import (
	"context"
	"errors"
	"io"
)

// Ref is the name of the built-in image.
const Ref = "hoy/toolbox:latest"

// Install makes sure that the image is there and is the one this program carries.
// digest is the label value of the image present now ("" when there is none);
// load brings in a docker archive.
func Install(ctx context.Context, present string, load func(ctx context.Context, archive io.Reader) error) error {
	return errors.ErrUnsupported
}
