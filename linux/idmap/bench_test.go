package idmap

import "testing"

func BenchmarkNewPair(b *testing.B) {
	for b.Loop() {
		user, net, err := NewPair(testMap)
		if err != nil {
			b.Fatal(err)
		}
		user.Close()
		net.Close()
	}
}
