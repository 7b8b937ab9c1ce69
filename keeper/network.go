package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"hoy/keeper/names"
	"hoy/lib/fault"
)

// What goes over in parts: a message has room for so many descriptors and bytes. A keeper
// acts when it has the last part, and one that took over in between asks for the first.
const (
	portsAtOnce = 200
	namesAtOnce = 32 << 10 // bytes
	holdTries   = 5
)

var errFirstPart = fault.New(fault.NotFound, "the keeper has not got the first part of this request")

// HoldNetwork has the keeper hold h, and nothing else, for the container h.ID: before the
// process of that generation is started, or while it runs. Errors: NotFound if h relies
// on a file that is not held.
func (c *Client) HoldNetwork(ctx context.Context, h NetworkHold) error {
	if err := checkID(h.ID); err != nil {
		return err
	}
	parts := h.parts()
	return c.inParts(len(parts), func(i int) error {
		_, _, err := c.call(ctx, typeHold, parts[i].body, fdsOf(parts[i].files))
		return err
	})
}

// inParts sends n parts, all of them again when the keeper that had the first has gone.
func (c *Client) inParts(n int, send func(i int) error) (err error) {
	for range holdTries {
		for i := range n {
			if err = send(i); err != nil {
				break
			}
		}
		if err == nil || n == 1 || !fault.Is(err, fault.NotFound) || err.Error() != errFirstPart.Error() {
			return err
		}
	}
	return err
}

// ReleaseNetwork ends a hold. One that is not there, or of another generation, is no error.
func (c *Client) ReleaseNetwork(ctx context.Context, id string, generation uint64) error {
	_, _, err := c.call(ctx, typeRelease, idBody{id, generation}, nil)
	return err
}

// NetworkHolds returns what the keeper holds: an engine releases what it does not know.
func (c *Client) NetworkHolds(ctx context.Context) (all []HeldNetwork, err error) {
	err = c.retry(ctx, func(l *link) error {
		var bad error
		all = nil
		err := l.do(ctx, typeHolds, empty{}, nil, func(body []byte, _ []int) {
			var r holdsReply
			if err := json.Unmarshal(body, &r); err != nil {
				bad = fmt.Errorf("cannot understand the keeper: %w", err)
			}
			for _, h := range r.Holds {
				if n := len(all); n > 0 && all[n-1].ID == h.ID { // the rest of its ports
					all[n-1].Ports = append(all[n-1].Ports, h.Ports...)
				} else {
					all = append(all, h)
				}
			}
		})
		return errors.Join(err, bad)
	})
	return all, err
}

// SetNames changes the names of a network: containers in remove lose theirs, those in set
// get these instead of what they had; with replace all others lose theirs too.
func (c *Client) SetNames(ctx context.Context, network string, replace bool, set []NameEntry, remove []string) error {
	bodies := []namesBody{{Network: network, Replace: replace, Remove: remove}}
	size := 0
	for _, e := range set {
		n := 100 + len(e.Container)
		for _, name := range e.Names {
			n += 4 + len(name)
		}
		n += 48 * len(e.Addresses)
		if size += n; size > namesAtOnce {
			bodies[len(bodies)-1].More = true
			bodies, size = append(bodies, namesBody{Network: network, Part: len(bodies)}), n
		}
		last := &bodies[len(bodies)-1]
		last.Set = append(last.Set, e)
	}
	return c.inParts(len(bodies), func(i int) error {
		_, _, err := c.call(ctx, typeNames, bodies[i], nil)
		return err
	})
}

// DropNames forgets the names of a network.
func (c *Client) DropNames(ctx context.Context, network string) error {
	return c.SetNames(ctx, network, true, nil, nil)
}

// holdPart is one message about a hold.
type holdPart struct {
	body  holdBody
	files []*os.File
}

func (h *NetworkHold) parts() (ps []holdPart) {
	p := holdPart{body: holdBody{ID: h.ID, Generation: h.Generation}}
	if r := h.Resolver; r != nil {
		p.body.Resolver = &resolverBody{HasSockets: r.UDP != nil && r.TCP != nil, HasNetNS: r.NetNS != nil,
			View: names.View{Networks: r.Networks, Zones: r.Zones, Links: r.Links, Hosts: r.Hosts, Isolated: r.Isolated}, Servers: r.Servers}
		if p.body.Resolver.HasSockets {
			p.files = append(p.files, r.UDP, r.TCP)
		}
		if r.NetNS != nil {
			p.files = append(p.files, r.NetNS)
		}
	}
	for i, port := range h.Ports {
		if i > 0 && i%portsAtOnce == 0 {
			p.body.More = true
			ps = append(ps, p)
			p = holdPart{body: holdBody{ID: h.ID, Generation: h.Generation, Part: len(ps)}}
		}
		p.body.Ports = append(p.body.Ports, portBody{port.Proto, port.Host, port.Target, port.Socket != nil, port.Everybody})
		if port.Socket != nil {
			p.files = append(p.files, port.Socket)
		}
	}
	return append(ps, p)
}
