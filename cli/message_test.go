package cli

import (
	"errors"
	"testing"
)

// TestMessageDrivesNoTerminal has errors with words of an image or a registry.
func TestMessageDrivesNoTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"Error: no user u\x1b[31m\x07":     `Error: no user u\x1b[31m\a`,
		"Error: \u009b2J\r over\n\ta line": "Error: \\u009b2J\\r over\n\ta line",
		"Error: as it is, ü":               "Error: as it is, ü",
	} {
		if got := message(errors.New(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
