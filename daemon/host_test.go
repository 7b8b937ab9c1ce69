package daemon

import "testing"

func TestNeedMount(t *testing.T) {
	for dir, ok := range map[string]bool{"/proc": true, t.TempDir(): false} {
		if err := needMount(dir); (err == nil) != ok {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
