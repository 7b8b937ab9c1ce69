package main

import (
	"os"
	"testing"

	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

// TestFloorRuns keeps both programs working: each makes the same containers, and
// leaves nothing. What they measure is for 'make bench'.
func TestFloorRuns(t *testing.T) {
	rootful.Check(t)
	t.Setenv(inside, "1") // rootful.Main has made the mount namespace
	if err := run(2, 1); err != nil {
		t.Fatal(err)
	}
}
