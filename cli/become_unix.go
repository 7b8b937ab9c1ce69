//go:build !windows

package cli

import (
	"fmt"
	"os"
	"syscall"
)

// become has another program take our place: signals and the exit code are its own.
func (a *app) become(words []string) error {
	return fmt.Errorf("cannot run %s: %w", words[0], syscall.Exec(words[0], words, os.Environ()))
}
