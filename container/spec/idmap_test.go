package spec

import (
	"reflect"
	"strings"
	"testing"

	"hoy/linux/idmap"
)

func TestIDMap(t *testing.T) {
	user := &idmap.Map{UIDs: []idmap.Range{{Inside: 0, Outside: 100000, Size: 1000}, {Inside: 1000, Outside: 500000, Size: 1000}}, GIDs: []idmap.Range{{Inside: 0, Outside: 200000, Size: 2000}}}
	all := []idmap.Range{{Size: 1<<32 - 1}}
	for _, tc := range []struct {
		option string
		user   *idmap.Map
		want   *idmap.Map
	}{
		{"idmap", nil, nil},
		{"idmap", user, user},
		{"idmap=uids=1000-0-1", nil, &idmap.Map{UIDs: []idmap.Range{{Inside: 1000, Outside: 0, Size: 1}}, GIDs: all}},
		{"idmap=uids=@1000-0-1#@1-1-999;gids=@7-0-1", nil, &idmap.Map{UIDs: []idmap.Range{{Inside: 1000, Outside: 0, Size: 1}, {Inside: 1, Outside: 1, Size: 999}}, GIDs: []idmap.Range{{Inside: 7, Outside: 0, Size: 1}}}},
		{"idmap=uids=@0-990-20", user, &idmap.Map{UIDs: []idmap.Range{{Inside: 0, Outside: 100990, Size: 10}, {Inside: 10, Outside: 500000, Size: 10}}, GIDs: user.GIDs}},
		{"idmap=gids=5-6-7", user, &idmap.Map{UIDs: user.UIDs, GIDs: []idmap.Range{{Inside: 5, Outside: 6, Size: 7}}}},
	} {
		m, err := ParseIDMap(tc.option)
		if err != nil {
			t.Errorf("%s: %v", tc.option, err)
			continue
		}
		if got, err := m.Map(tc.user); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v", tc.option, got, err)
		}
	}
	for option, want := range map[string]string{
		"idmap=":                      "write idmap",
		"idmap=uids":                  "write idmap",
		"idmap=uids=1-2":              `"1-2"`,
		"idmap=uids=1-2-0":            `"1-2-0"`,
		"idmap=uids=1--2":             `"1--2"`,
		"idmap=uids=4294967295-0-1":   "4294967295-0-1",
		"idmap=uids=0-0-4294967295#1": `"1"`,
		"idmap=uids=1-0-1;uids=2-0-1": "write idmap",
		"idmap=names=1-0-1":           "write idmap",
		"idmap=uids=1-0-2#2-5-1":      "a second time",
		"idmap=uids=1-0-2#9-1-1":      "a second time",
	} {
		if _, err := ParseIDMap(option); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", option, err)
		}
	}
	m, err := ParseIDMap("idmap=uids=@1-1999-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Map(user); err == nil || !strings.Contains(err.Error(), "lacks 1 of the ids 1999 to 2000") {
		t.Error(err)
	}
	if m, err := ParseIDMap("cached"); m != nil || err != nil {
		t.Error(m, err)
	}
}
