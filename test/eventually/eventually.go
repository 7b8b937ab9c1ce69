// Package eventually waits for what happens behind a test's back.
package eventually

import (
	"testing"
	"time"
)

// Patience is how long it is waited. It is no bound that anything is held to: a machine
// that is busy with other things takes its time.
const Patience = time.Minute

// Is asks ok every few milliseconds until it says so. false: it never did.
func Is(ok func() bool) bool {
	for end := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// True is Is, and ends the test when ok never says so.
func True(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Is(ok) {
		t.Fatalf("in vain waited for: %s", what)
	}
}
