package firewall

import (
	"fmt"
	"io"
	"net"
	"testing"

	"hoy/test/lan"
	"hoy/test/rootful"
)

// BenchmarkPublish is two ports published, and taken back. What the kernel needs to end
// flows goes on behind it.
func BenchmarkPublish(b *testing.B) {
	rootful.Check(b)
	for _, n := range []int{0, 1000} {
		var others []Port
		for i := range n {
			others = append(others, port("tcp", fmt.Sprintf("0.0.0.0:%d", 10000+i), "hoy0", "172.17.0.9:80"))
		}
		b.Run(fmt.Sprintf("with %d others", n), func(b *testing.B) {
			lan.NewBridge(b, "hoy0")
			f := open(b, "hoy-hoy0")
			lan.Must(b, f.Sync([]Network{defaultNetwork}, others))
			two := []Port{port("tcp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"), port("tcp", "0.0.0.0:8443", "hoy0", "172.17.0.2:443")}
			for b.Loop() {
				lan.Must(b, f.Publish(two...))
				b.StopTimer()
				lan.Must(b, f.Unpublish(two...))
				f.flows.settle()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkTraffic compares a published port with the same way without any rules: what
// a connection carries, and how long an answer takes.
func BenchmarkTraffic(b *testing.B) {
	rootful.Check(b)
	w := lan.New(b)
	sink(b, w.Web, 90)
	web := []Port{port("tcp", "0.0.0.0:8080", "hoy0", "172.17.0.2:80"), port("tcp", "0.0.0.0:9090", "hoy0", "172.17.0.2:90")}
	run := func(name string, from lan.Host, echo, discard string) {
		b.Run(name+"/throughput", func(b *testing.B) {
			c := connect(b, from, discard)
			chunk := make([]byte, 256<<10)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := c.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/latency", func(b *testing.B) {
			c := dial(b, from, echo)
			for b.Loop() {
				lan.Must(b, exchange(c))
			}
		})
		b.Run(name+"/connect", func(b *testing.B) {
			for b.Loop() {
				lan.Must(b, from.Do(func() error {
					c, err := net.Dial("tcp", echo)
					if err != nil {
						return err
					}
					defer c.Close()
					return readLine(c)
				}))
			}
		})
	}
	run("peer, routed without rules", w.Peer, "172.17.0.2:80", "172.17.0.2:90")
	run("host, without rules", w.Host, "172.17.0.2:80", "172.17.0.2:90")
	f := open(b, "hoy-hoy0")
	lan.Must(b, f.Sync([]Network{hoy0, hoy1}, web))
	run("peer, published", w.Peer, "192.0.2.1:8080", "192.0.2.1:9090")
	run("host, published", w.Host, "192.0.2.1:8080", "192.0.2.1:9090")
	run("host, published at 127.0.0.1", w.Host, "127.0.0.1:8080", "127.0.0.1:9090")
}

func connect(b *testing.B, from lan.Host, to string) net.Conn {
	b.Helper()
	var c net.Conn
	lan.Must(b, from.Do(func() (err error) {
		c, err = net.Dial("tcp", to)
		return err
	}))
	b.Cleanup(func() { c.Close() })
	return c
}

// sink takes what comes to a port of a host.
func sink(b *testing.B, h lan.Host, port int) {
	b.Helper()
	lan.Must(b, h.Do(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		b.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					io.Copy(io.Discard, c)
				}()
			}
		}()
		return nil
	}))
}
