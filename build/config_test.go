package build

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestConfig reads what dockerd's documentation writes under the key builder.
func TestConfig(t *testing.T) {
	parse := func(text string) (Config, []string, error) {
		var v any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber() // as the engine reads its file
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return ParseConfig(v)
	}
	c, _, err := parse(`{"gc": {"enabled": true, "defaultReservedSpace": "30GB", "policy": [
		{"reservedSpace": "512MB", "filter": ["unused-for=1400h", "type=source.local"]},
		{"keepStorage": "1GB", "maxUsedSpace": "2GB", "all": true}]},
		"entitlements": {"network-host": false, "security-insecure": true}, "history": {"maxEntries": 3}}`)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.policy(t.TempDir(), time.Now())
	if err != nil || len(p) != 2 || p[0].ReservedSpace != 512<<20 || p[0].KeepDuration.Round(time.Hour) != 1400*time.Hour || !slices.Equal(p[0].Filter, []string{"type==source.local"}) ||
		!p[1].All || p[1].ReservedSpace != 1<<30 || p[1].MaxUsedSpace != 2<<30 {
		t.Errorf("%+v, %v", p, err)
	}
	if e := c.entitlements(); !slices.Equal(e, []string{"security.insecure"}) || *c.history().MaxEntries != 3 {
		t.Errorf("%q, %+v", e, c.history())
	}
	if p, err := (&Config{}).policy(t.TempDir(), time.Now()); err != nil || len(p) != 4 || p[2].MaxUsedSpace <= p[2].ReservedSpace || p[0].MaxUsedSpace < 512e6 {
		t.Errorf("by default: %+v, %v", p, err)
	}
	off, _, err := parse(`{"gc": {"enabled": false}}`)
	if p, _ := off.policy("/", time.Now()); err != nil || p != nil {
		t.Errorf("switched off: %+v, %v", p, err)
	}
	for text, want := range map[string]string{
		`{"gc": {"defaultReservedSpace": "lots"}}`:                   "defaultReservedSpace",
		`{"gc": {"nonsense": 1}}`:                                    "nonsense",
		`{"gc": {"policy": [{"filter": ["until=1h", "until=2h"]}]}}`: "one value",
		`[]`: "array",
	} {
		if _, _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, w, err := parse(`{"entitlements": {"device": true}}`); err != nil || len(w) != 1 {
		t.Errorf("%q, %v", w, err)
	}
}
