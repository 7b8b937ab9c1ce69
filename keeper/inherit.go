package keeper

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// bequeathHold is a hold in a bequest. What of it is forwarded ends with the program.
type bequeathHold struct {
	holdBody
	UDP     int   `json:"udp"`
	TCP     int   `json:"tcp"`
	NetNS   int   `json:"netnsFile"`
	Sockets []int `json:"portSockets,omitempty"` // of Ports
}

// bequeath collects duplicates of what is held.
func (hs *holds) bequeath(dups *[]int) (bs []bequeathHold, err error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	dup := func(fd int) (int, error) {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, readyFD+1)
		if err != nil {
			return -1, fmt.Errorf("cannot hand over a held socket: %w", err)
		}
		*dups = append(*dups, n)
		return n, nil
	}
	for _, h := range hs.held {
		b := bequeathHold{holdBody: holdBody{ID: h.ID, Generation: h.Generation}, UDP: -1, TCP: -1, NetNS: -1}
		if h.resolver != nil {
			r := h.settings
			r.HasSockets, r.HasNetNS = true, false
			err = h.resolver.Sockets(func(udp, tcp int, netns *os.File) (err error) {
				if b.UDP, err = dup(udp); err == nil {
					b.TCP, err = dup(tcp)
				}
				if err == nil && netns != nil {
					b.NetNS, err = dup(int(netns.Fd()))
					r.HasNetNS = true
				}
				return err
			})
			b.Resolver = &r
		}
		for _, p := range h.ports {
			if err == nil {
				err = p.f.Use(func(fd int) error {
					n, err := dup(fd)
					b.Sockets = append(b.Sockets, n)
					return err
				})
			}
			body := *p.body.Load()
			body.HasSocket = true
			b.Ports = append(b.Ports, body)
		}
		if err != nil {
			return nil, err
		}
		bs = append(bs, b)
	}
	return bs, nil
}

// inheritHolds goes on with what the program before held.
func (s *server) inheritHolds(will *bequest) {
	if will.Life != 0 {
		s.life = will.Life
	}
	for network, entries := range will.Names {
		s.networks.tables.Set(network, true, entries, nil)
	}
	for i := range will.Holds {
		b := &will.Holds[i]
		f := &heldFiles{b.UDP, b.TCP, b.NetNS, b.Sockets}
		err := fmt.Errorf("%d sockets for %d ports", len(b.Sockets), len(b.Ports))
		if len(b.Sockets) == len(b.Ports) {
			err = s.networks.hold(&b.holdBody, f, func() error { return nil })
		} else {
			f.close()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "hoy-keeper: %s: its network is no longer held: %v\n", b.ID, err)
		}
	}
}

// inherit reads what the program before left; nil: this one was started anew.
func inherit() (*bequest, error) {
	env := os.Getenv(bequestEnv)
	if env == "" {
		return nil, nil
	}
	os.Unsetenv(bequestEnv)
	fd, err := strconv.Atoi(env)
	if err != nil {
		return nil, fmt.Errorf("cannot take over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "bequest")
	if f == nil {
		return nil, fmt.Errorf("cannot take over: no descriptor %d", fd)
	}
	defer f.Close()
	j, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		return nil, fmt.Errorf("cannot take over: %w", err)
	}
	b, err := parseBequest(j)
	if err != nil {
		return nil, fmt.Errorf("cannot take over: %w", err)
	}
	for _, fd := range b.descriptors() {
		if fd >= 0 {
			unix.CloseOnExec(fd)
		}
	}
	return b, nil
}

func parseBequest(j []byte) (*bequest, error) {
	b := &bequest{Lock: -1, Listener: -1}
	if err := json.Unmarshal(j, b); err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	for _, fd := range b.descriptors() {
		if fd >= 0 && (fd <= readyFD || seen[fd]) {
			return nil, fmt.Errorf("descriptor %d is named twice or is no bequest", fd)
		}
		seen[fd] = true
	}
	if b.Lock < 0 || b.Listener < 0 {
		return nil, fmt.Errorf("lock or listener is missing")
	}
	return b, nil
}
