//go:build !linux

package client

import (
	"context"
	"io"
)

// Launcher returns nil: engines run on Linux only.
func Launcher(io.Writer) func(context.Context) error { return nil }
