package spec

import (
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

// StorageSize is the limit of a container's writable layer in bytes that --storage-opt
// size sets; 0 is none.
func StorageSize(h *container.HostConfig) (int64, error) {
	size := int64(0)
	for _, key := range sortedKeys(h.StorageOpt) {
		if strings.ToLower(key) != "size" {
			return 0, invalid("unknown option %s", key)
		}
		n, err := units.RAMInBytes(h.StorageOpt[key])
		if err != nil {
			return 0, invalid("%w", err)
		}
		if n <= 0 {
			return 0, invalid("storage size must be larger than zero: %s", h.StorageOpt[key])
		}
		size = n
	}
	return size, nil
}
