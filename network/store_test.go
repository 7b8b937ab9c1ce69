package network

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoy/test/rootful"
)

func writeRecord(t *testing.T, text string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "networks.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestFirstRecord opens the networks of a hoy that had the predefined ones only.
func TestFirstRecord(t *testing.T) {
	rootful.Check(t)
	a, b, c := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)
	root := writeRecord(t, `{"version": 1, "address": "10.213.9.1/24", "made": "hoytest0", "ids": {"bridge": "`+a+`", "host": "`+b+`", "none": "`+c+`"}}`)
	n, err := Open(context.Background(), Options{Root: root, Bridge: "hoytest0"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l := n.List()
	gateway, _ := n.Gateway()
	if len(l) != 3 || l[0].ID != a || l[1].ID != b || l[2].ID != c || gateway.String() != "10.213.9.1" || !l[0].Made {
		t.Errorf("networks: %+v, gateway %s", l[0], gateway)
	}
}

func TestRecordOfALaterHoy(t *testing.T) {
	_, err := Open(context.Background(), Options{Root: writeRecord(t, `{"version": 3}`), Bridge: "none"})
	if err == nil || !strings.Contains(err.Error(), "which a later hoy has written") {
		t.Errorf("opened: %v", err)
	}
}

// TestDamagedRecord has a record be cut off, empty or something else: the predefined
// networks are there, and what there was is kept.
func TestDamagedRecord(t *testing.T) {
	for _, text := range []string{`{"version": 2, "networks": [{"name": "mine"`, "", "\x00\x00\x00"} {
		root := writeRecord(t, text)
		var log strings.Builder
		n, err := Open(context.Background(), Options{Root: root, Bridge: "none", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if l := n.List(); len(l) != 2 {
			t.Errorf("%q: %d networks", text, len(l))
		}
		n.Close()
		aside, _ := filepath.Glob(filepath.Join(root, "networks.json.damaged-*"))
		if len(aside) != 1 || !strings.Contains(log.String(), aside[0]) {
			t.Fatalf("%q: set aside are %q, told is %s", text, aside, log.String())
		}
		if b, err := os.ReadFile(aside[0]); err != nil || string(b) != text {
			t.Errorf("%q: kept is %q, %v", text, b, err)
		}
	}
}

// TestDefaultNetworkOptions are dockerd's.
func TestDefaultNetworkOptions(t *testing.T) {
	n, _ := openWith(t, Options{
		BIP: netip.MustParsePrefix("10.213.0.1/24"), FixedCIDR: netip.MustParsePrefix("10.213.0.128/25"), Gateway: netip.MustParseAddr("10.213.0.9"),
		IPv6: true, BIP6: netip.MustParsePrefix("fd00:9::5/64"), MTU: 1400, Ready: -1,
	})
	a := attach(t, n, "a", "bridge")
	if got := a.Endpoint.Address.String() + " " + a.Endpoint.Gateway.String() + " " + a.Endpoint.Address6.String() + " " + a.Endpoint.Gateway6.String(); got != "10.213.0.128/24 10.213.0.9 fd00:9::1/64 fd00:9::5" {
		t.Errorf("a has %s", got)
	}
	if got := addressesOf(t, "hoytest0"); got != "10.213.0.1/24 fd00:9::5/64" {
		t.Errorf("the bridge has %s", got)
	}
	if got := run(t, a.NetNS, "ip", "link", "show", "dev", "eth0"); !strings.Contains(got, "mtu 1400") {
		t.Errorf("link: %s", got)
	}
	serveHere(t)
	reaches(t, a, netip.MustParseAddr("fd00:9::5"))
}

// TestRecordIsWrittenWhenItChanges opens networks twice: nothing has changed, and the
// record, which a full disk has no room for, stays the same file.
func TestRecordIsWrittenWhenItChanges(t *testing.T) {
	root := t.TempDir()
	var files [2]os.FileInfo
	for i := range files {
		n, err := Open(context.Background(), Options{Root: root, Bridge: "none"})
		if err != nil {
			t.Fatal(err)
		}
		n.Close()
		if files[i], err = os.Stat(filepath.Join(root, "networks.json")); err != nil {
			t.Fatal(err)
		}
	}
	if !os.SameFile(files[0], files[1]) {
		t.Error("the record was replaced")
	}
}
