package snapshot

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hoy/linux/tree"
)

// Usage counts the layer: bytes on disk, hard links once, and entries. Files that go
// away meanwhile are not counted. As Changes, it goes by descriptor.
func (l Layer) Usage(ctx context.Context) (size, entries int64, err error) {
	upper, err := os.OpenFile(l.Upper(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if os.IsNotExist(err) {
		return 0, 0, nil // removed
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot measure layer: %w", err)
	}
	defer upper.Close()
	var m tree.Meter
	if err := m.Tree(ctx, upper, "."); err != nil {
		return 0, 0, fmt.Errorf("cannot measure layer: %w", err)
	}
	return m.Size, m.Entries, nil
}
