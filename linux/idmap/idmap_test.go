package idmap

import "testing"

func TestUID(t *testing.T) {
	m := &Map{
		UIDs: []Range{{0, 100000, 1000}, {1000, 5000, 1}},
		GIDs: []Range{{0, 200000, 10}},
	}
	for _, tc := range []struct {
		inside, uid uint32
		ok          bool
	}{{0, 100000, true}, {999, 100999, true}, {1000, 5000, true}, {1001, 0, false}} {
		if uid, ok := m.UID(tc.inside); uid != tc.uid || ok != tc.ok {
			t.Errorf("UID(%d) = %d, %v, want %d, %v", tc.inside, uid, ok, tc.uid, tc.ok)
		}
	}
	if uid, gid := m.Inside(100999, 200009); uid != 999 || gid != 9 {
		t.Errorf("Inside = %d, %d", uid, gid)
	}
	if uid, gid := m.Inside(65534, 200010); uid != 65534 || gid != 200010 {
		t.Errorf("Inside of what is not mapped = %d, %d", uid, gid)
	}
	if gid, ok := m.GID(9); gid != 200009 || !ok {
		t.Errorf("GID(9) = %d, %v", gid, ok)
	}
	if _, ok := m.GID(10); ok {
		t.Error("GID(10) is mapped")
	}
}

func TestEmptyMapIsRefused(t *testing.T) {
	if _, err := New(&Map{}); err == nil {
		t.Error("an empty map made a namespace")
	}
}
