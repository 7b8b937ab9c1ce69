package cli

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm asks whether to go on. If not it returns an exit without a word and without a
// failure, as docker's.
func (a *app) confirm(warning string) error {
	fmt.Fprintf(a.Out, "%s\nAre you sure you want to continue? [y/N] ", warning)
	answer, _ := bufio.NewReader(a.In).ReadString('\n') // no answer is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(a.Out)
	return &exit{}
}
