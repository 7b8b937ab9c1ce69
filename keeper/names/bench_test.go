package names

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkLocal is a name of the network over a socket, one after the other.
func BenchmarkLocal(b *testing.B) {
	bed := newBed(b)
	c := bed.connect("udp")
	defer c.Close()
	msg, buf := ask("web.", typeA, 1232), make([]byte, 512)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(msg)
		c.Read(buf)
	}
}

// BenchmarkParallel has 1,000 clients ask at once, again and again, and reports how long
// the slowest but one percent wait.
func BenchmarkParallel(b *testing.B) {
	for _, what := range []string{"local", "forwarded"} {
		b.Run(what, func(b *testing.B) {
			bed := newBed(b)
			bed.start("127.0.0.53:53", false, with("9.9.9.9"))
			bed.hostServers("127.0.0.53")
			const clients = 1000
			name := map[string]string{"local": "web.", "forwarded": "example.com."}[what]
			var cs []net.Conn
			for range clients {
				cs = append(cs, bed.connect("udp"))
			}
			var mu sync.Mutex
			var took []time.Duration
			b.ResetTimer()
			for range b.N {
				var wg sync.WaitGroup
				start := time.Now()
				for i, c := range cs {
					wg.Go(func() {
						msg, buf := ask(name, typeA, 1232), make([]byte, 512)
						binary.BigEndian.PutUint16(msg, uint16(i))
						c.SetDeadline(start.Add(10 * time.Second))
						c.Write(msg)
						if n, err := c.Read(buf); err != nil || n < 12 || binary.BigEndian.Uint16(buf) != uint16(i) {
							b.Error(n, err)
						}
						mu.Lock()
						took = append(took, time.Since(start))
						mu.Unlock()
					})
				}
				wg.Wait()
			}
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "ms/p99")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/clients, "ns/query")
			for _, c := range cs {
				c.Close()
			}
		})
	}
}
