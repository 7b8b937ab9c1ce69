package network

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"hoy/lib/atomicfile"
	"hoy/lib/fault"
)

// record is networks.json, in the root:
//
//	{"version": 2, "networks": [{"name": "bridge", "id": "…", …}, …]}
//
// Its first version knew the three predefined networks only:
//
//	{"version": 1, "address": "172.17.0.1/16", "made": "hoy0", "ids": {"bridge": "…", "host": "…", "none": "…"}}
type record struct {
	Version  int        `json:"version"`
	Networks []*Network `json:"networks"`

	Address netip.Prefix      `json:"address,omitzero"`
	Made    string            `json:"made,omitempty"`
	IDs     map[string]string `json:"ids,omitempty"`
}

func (n *Networks) path() string { return filepath.Join(n.opts.Root, "networks.json") }

// load reads the networks of an earlier engine.
func (n *Networks) load() ([]*Network, error) {
	var r record
	b, err := os.ReadFile(n.path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read the networks: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, n.setAside(err)
	}
	switch {
	case r.Version > 2:
		return nil, fault.New(fault.Invalid, "cannot read the networks: %s has version %d, which a later hoy has written", n.path(), r.Version)
	case r.Version == 1:
		return r.first(), nil
	}
	return r.Networks, nil
}

// setAside renames a record that says nothing any more: the engine goes on with the
// predefined networks, and who has networks of their own reads there what they were.
func (n *Networks) setAside(why error) error {
	aside := n.path() + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(n.path(), aside); err != nil {
		return fmt.Errorf("cannot set aside the damaged record of the networks: %w", err)
	}
	n.opts.Log.Error("the record of the networks is damaged: all but the predefined ones are to be made anew", "file", n.path(), "renamed", aside, "error", why)
	return nil
}

// first are the networks of a record of the first version.
func (r *record) first() []*Network {
	drivers := map[string]string{"bridge": "bridge", "host": "host", "none": "null"}
	var l []*Network
	for _, name := range predefined {
		net := &Network{Name: name, ID: r.IDs[name], Driver: drivers[name]}
		if name == "bridge" && r.Address.IsValid() {
			net.Subnets = []Subnet{{Prefix: r.Address.Masked(), Gateway: r.Address.Addr()}}
			net.Link, net.Made = r.Made, r.Made != ""
		}
		if net.ID != "" {
			l = append(l, net)
		}
	}
	return l
}

// save writes the networks. The caller holds changing.
func (n *Networks) save(networks []*Network) error {
	b, err := json.Marshal(record{Version: 2, Networks: networks})
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(n.path()); err == nil && bytes.Equal(was, b) {
		return nil // a full disk, or one that cannot be written, shall keep no engine from its start
	}
	if err := os.MkdirAll(n.opts.Root, 0o700); err != nil {
		return fmt.Errorf("cannot make the networks' directory: %w", err)
	}
	return atomicfile.WriteSync(n.path(), b, 0o600)
}
