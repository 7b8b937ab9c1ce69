package main

import (
	"fmt"
	"net"
	"os"
	"slices"
)

// A way is one of those on which carriers are compared.
type way struct {
	what string
	of   func(c *carrier, address string) (from *os.File, echo, discard string)
}

var ways = []way{
	{"container to container", func(c *carrier, address string) (*os.File, string, string) {
		return c.one, address + ":80", address + ":90"
	}},
	{"LAN peer to published port", func(c *carrier, address string) (*os.File, string, string) {
		host, port, _ := net.SplitHostPort(c.published)
		return c.peer, c.published, host + ":" + map[string]string{"80": "90", "18080": "18090"}[port]
	}},
	{"host to container", func(c *carrier, address string) (*os.File, string, string) {
		return c.host, address + ":80", address + ":90"
	}},
	{"host to published port at 127.0.0.1", func(c *carrier, address string) (*os.File, string, string) {
		if _, port, _ := net.SplitHostPort(c.published); port == "80" {
			return c.host, address + ":80", address + ":90" // no port of the host
		}
		return c.host, "127.0.0.1:18080", "127.0.0.1:18090"
	}},
}

// compared is which carrier the others are compared with, by ratios of the same turn.
const compared = "bare, hoy's rules"

// turnsARound is many: turns are short, so that all meet the same load of the machine.
const turnsARound = 8

// carry compares what networks carry, in turns.
func carry(reference string, rounds int) error {
	dir, err := os.MkdirTemp("", "hoy-bench-n")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all, err := carriers(dir, reference)
	defer func() {
		for _, c := range slices.Backward(all) {
			c.close()
		}
	}()
	if err != nil {
		return err
	}
	addresses := map[*carrier]string{}
	for _, c := range all {
		if addresses[c], err = c.serve(); err != nil {
			return err
		}
	}
	for _, w := range ways {
		got := map[string][]carried{} // by carrier; an entry each turn
		for turn := range rounds * turnsARound {
			for i := range all {
				c := all[(i+turn)%len(all)] // another one is first each time
				m, err := measured(w.of(c, addresses[c]))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, w.what, err)
				}
				got[c.name] = append(got[c.name], m)
			}
		}
		w.print(all, got)
	}
	return nil
}

// print shows a way's figures, and how each carrier's are by those of the compared one in
// the same turn.
func (w way) print(all []*carrier, got map[string][]carried) {
	fmt.Printf("\n== %s, in turns; median (best), and by %q in the same turn: median (quartiles)\n", w.what, compared)
	for _, f := range []struct {
		unit   string
		of     func(carried) float64
		larger bool
	}{
		{"Gbit/s", func(m carried) float64 { return m.gbit }, true},
		{"µs an exchange", func(m carried) float64 { return m.exchange }, false},
		{"µs a connection", func(m carried) float64 { return m.connection }, false},
	} {
		for _, c := range all {
			var values, ratios []float64
			for turn, m := range got[c.name] {
				values = append(values, f.of(m))
				ratios = append(ratios, f.of(m)/f.of(got[compared][turn]))
			}
			best := slices.Min(values)
			if f.larger {
				best = slices.Max(values)
			}
			slices.Sort(ratios)
			fmt.Printf("%-16s %-20s %8.1f (%.1f)   %.3f (%.2f–%.2f)\n", f.unit, c.name, median(values), best, median(ratios), ratios[len(ratios)/4], ratios[len(ratios)*3/4])
		}
	}
}
