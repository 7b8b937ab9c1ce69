package network

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"hoy/network/firewall"
	"hoy/test/rootful"
)

func benchNetworks(b *testing.B, ready int) *Networks {
	b.Helper()
	rootful.Need(b)
	f, err := firewall.Open(firewall.Options{Table: "hoy-hoytest0"})
	if err != nil {
		b.Fatal(err)
	}
	n, err := Open(context.Background(), Options{Root: b.TempDir(), Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/16"), Ready: ready, Firewall: f, Keeper: newHolder()})
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Close() })
	return n
}

// fill waits until a pool is full.
func fill(p *pool) {
	for full := false; !full; {
		p.wake()
		time.Sleep(time.Millisecond)
		p.mu.Lock()
		full = len(p.ready) >= p.size
		p.mu.Unlock()
	}
}

// BenchmarkPrepare makes namespaces with a link, as happens behind starts.
func BenchmarkPrepare(b *testing.B) {
	n := benchNetworks(b, -1)
	for b.Loop() {
		p, err := n.prepare(n.named("bridge"))
		if err != nil {
			b.Fatal(err)
		}
		p.discard()
	}
}

// BenchmarkAttach is what a start waits for, with ready namespaces: compare with "none".
func BenchmarkAttach(b *testing.B) {
	two := []PortRequest{{Proto: "tcp", Container: 80}, {Proto: "tcp", Container: 443}}
	for _, bc := range []struct {
		name string
		r    AttachRequest
	}{
		{"none", AttachRequest{Mode: "none"}},
		{"bridge", AttachRequest{Endpoints: []EndpointRequest{{Network: "bridge"}}}},
		{"bridge and two ports", AttachRequest{Endpoints: []EndpointRequest{{Network: "bridge"}}, Publish: two}},
		{"user-defined", AttachRequest{Endpoints: []EndpointRequest{{Network: "back", Names: []string{"x"}}}}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			n := benchNetworks(b, 200)
			n.none.size = 200
			if _, _, err := n.Create(context.Background(), CreateRequest{Name: "back"}); err != nil {
				b.Fatal(err)
			}
			n.keepReady(n.named("back"), 200)
			wait := func() { // until all are ready: what is measured is not the making
				for _, p := range []*pool{n.none, n.named("bridge").ready, n.named("back").ready} {
					fill(p)
				}
			}
			wait()
			i := 0
			for b.Loop() {
				if i++; i%100 == 0 {
					b.StopTimer()
					wait()
					b.StartTimer()
				}
				r := bc.r
				r.ContainerID = strconv.Itoa(i)
				s, err := n.Attach(context.Background(), r)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
				n.Detach(r.ContainerID)
				b.StartTimer()
			}
		})
	}
}
