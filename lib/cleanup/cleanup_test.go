package cleanup

import (
	"slices"
	"testing"
)

func TestRunUndoesInReverseOnce(t *testing.T) {
	var got []int
	var s Stack
	for i := range 3 {
		s.Add(func() { got = append(got, i) })
	}
	s.Run()
	s.Run()
	if want := []int{2, 1, 0}; !slices.Equal(got, want) {
		t.Fatalf("ran %v, want %v", got, want)
	}
}

func TestReleaseKeeps(t *testing.T) {
	var s Stack
	s.Add(func() { t.Fatal("undone after release") })
	s.Release()
	s.Run()
}
