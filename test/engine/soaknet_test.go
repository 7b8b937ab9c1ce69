package engine

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hoy/linux/netlink"
	"hoy/test/rootful"
)

// TestSoakNetwork has many containers on one network: started, all found by name from one
// of them, many at once, listed, removed.
func TestSoakNetwork(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.ImportBusybox()
	n := size(500, 30)
	e.Hoy("network", "create", "--subnet", "10.231.0.0/16", "many")
	e.Hoy("run", "-d", "--name", "c0", "--network", "many", "busybox", "sleep", "100000")
	before := e.pss()
	begin, last := time.Now(), time.Duration(0)
	parallel(n-1, 8, func(i int) {
		if r := e.Try("run", "-d", "--name", fmt.Sprintf("c%d", i+1), "--network", "many", "busybox", "sleep", "100000"); r.Code != 0 {
			t.Errorf("container %d: %s", i+1, r.Stderr)
		}
		if i == n/2 {
			last = time.Since(begin)
		}
	})
	t.Logf("%d containers on a network started in %v, half of them in %v; engine and keeper: %d kB a container", n, time.Since(begin), last, (e.pss()-before)/n)
	begin = time.Now()
	if got := len(strings.Fields(e.Hoy("ps", "-q"))); got != n {
		t.Errorf("%d of %d run", got, n)
	}
	t.Logf("ps: %v", time.Since(begin))
	ns, err := os.Open("/proc/" + e.Hoy("inspect", "-f", "{{.State.Pid}}", "c0") + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	took, sockets := make([]time.Duration, 1000), make([]net.Conn, 1000)
	for i := range sockets {
		if err := netlink.In(ns, func() (err error) { sockets[i], err = net.Dial("udp4", "127.0.0.11:53"); return err }); err != nil {
			t.Fatal(err)
		}
		defer sockets[i].Close()
	}
	var wg sync.WaitGroup
	for i := range took {
		wg.Go(func() {
			begin := time.Now()
			if err := ask(sockets[i], fmt.Sprintf("c%d.", i%n)); err != nil {
				t.Error(err)
			}
			took[i] = time.Since(begin)
		})
	}
	wg.Wait()
	slices.Sort(took)
	t.Logf("1,000 queries at once: p50 %v, p99 %v", took[500], took[990])
	begin = time.Now()
	for ids := range slices.Chunk(strings.Fields(e.Hoy("ps", "-aq")), 100) {
		e.Hoy(append([]string{"rm", "-f"}, ids...)...)
	}
	t.Logf("removed in %v", time.Since(begin))
	e.Hoy("network", "rm", "many")
	e.nothingLeft()
}

// ask asks the container's resolver for the address of a name, which there must be.
func ask(c net.Conn, name string) error {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 1, RecursionDesired: true})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET})
	query, err := b.Finish()
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	answer := make([]byte, 512)
	if _, err := c.Write(query); err != nil {
		return err
	}
	k, err := c.Read(answer)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(answer[:k]); err != nil || len(m.Answers) != 1 {
		return fmt.Errorf("%s: %d answers, %v", name, len(m.Answers), err)
	}
	return nil
}
