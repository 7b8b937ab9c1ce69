package volume

import (
	"os"
)

// Forsake removes the volumes without a name that were made for a container whose creation
// was cut short: they are empty, and nobody refers to them. It returns their names.
func (s *Store) Forsake(container string) (removed []string) {
	for _, v := range s.List() {
		if container == "" || v.For != container || !v.Anonymous() || len(v.Users) > 0 || len(v.Options) > 0 {
			continue
		}
		if files, err := os.ReadDir(v.Mountpoint); err != nil || len(files) > 0 {
			continue
		}
		if s.Remove(v.Name, true) == nil {
			removed = append(removed, v.Name)
		}
	}
	return removed
}
