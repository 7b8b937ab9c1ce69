package cli

import (
	"errors"
	"fmt"
	"os/exec"
)

// become runs another program in our place: Windows cannot replace one by another.
func (a *app) become(words []string) error {
	c := exec.Command(words[0], words[1:]...)
	c.Stdin, c.Stdout, c.Stderr = a.In, a.Out, a.Err
	err := c.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return &exit{code: ended.ExitCode()}
	} else if err != nil {
		return fmt.Errorf("cannot run %s: %w", words[0], err)
	}
	return nil
}
