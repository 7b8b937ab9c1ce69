package spec

import (
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestStorageSize(t *testing.T) {
	for text, want := range map[string]int64{"1G": 1 << 30, "10m": 10 << 20, "4096": 4096} {
		if got, err := StorageSize(&container.HostConfig{StorageOpt: map[string]string{"size": text}}); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for want, opts := range map[string]map[string]string{
		"unknown option colour": {"colour": "blue"}, "invalid size": {"size": "much"}, "must be larger than zero": {"size": "0"},
	} {
		if _, err := StorageSize(&container.HostConfig{StorageOpt: opts}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", opts, err, want)
		}
	}
}
