package spawn_test

import (
	"os"
	"testing"

	"hoy/linux/spawn"
)

// BenchmarkStart is the least that a start costs: a script of nothing but an execve.
func BenchmarkStart(b *testing.B) {
	plan := sealTrue(b)
	for b.Loop() {
		p, err := spawn.Load(plan.Memfd, plan.Files, [3]*os.File{})
		if err != nil {
			b.Fatal(err)
		}
		c, err := p.Start(patience)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		wait(b, c)
		b.StartTimer()
	}
}

// BenchmarkLoad is the share of Start's caller that does not depend on the kernel's clone.
func BenchmarkLoad(b *testing.B) {
	s := spawn.New()
	for range 120 {
		s.Call("close", "nothing", 3, s.Str("some path of the usual length"), s.Words(spawn.Int(1), s.Str("x")))
	}
	plan, err := s.Seal()
	if err != nil {
		b.Fatal(err)
	}
	defer plan.Close()
	for b.Loop() {
		p, err := spawn.Load(plan.Memfd, plan.Files, [3]*os.File{})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
