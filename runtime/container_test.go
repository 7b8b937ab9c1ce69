package runtime

import "testing"

func TestDefaultContainer(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.expect("hello\nbox (none)", "echo", "hello", ",", "hostname")
	})
}
