package filters

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Filters
	}{
		{"", nil},
		{`{}`, Filters{}},
		{`{"status":{"running":true,"exited":true}}`, Filters{"status": {"exited", "running"}}},
		{`{"status":["running"]}`, Filters{"status": {"running"}}},
		{`{"label":{}}`, Filters{"label": {}}},
	} {
		got, err := Parse(tc.in)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("Parse(%s) = %v, %v; want %v", tc.in, got, err, tc.want)
		}
	}
	for _, bad := range []string{"x", `[]`, `{"a":1}`, `{"a":{"b":"c"}}`, `"a"`, `{"a":[1]}`} {
		if f, err := Parse(bad); err == nil {
			t.Errorf("Parse(%s) = %v, want an error", bad, f)
		}
	}
}

func TestMatches(t *testing.T) {
	f := Filters{"name": {"web", "^db[0-9]+$"}, "label": {"a", "b=1"}, "id": {"abc"}, "empty": {}}
	labels := map[string]string{"a": "", "b": "1", "c": "2"}
	for _, tc := range []struct {
		what string
		got  bool
		want bool
	}{
		{"exact", f.ExactMatch("name", "web"), true},
		{"exact, other", f.ExactMatch("name", "web1"), false},
		{"exact, key not filtered", f.ExactMatch("status", "x"), true},
		{"exact, key without values", f.ExactMatch("empty", "x"), true},
		{"expression within", f.Match("name", "my-web-1"), true},
		{"expression anchored", f.Match("name", "db12"), true},
		{"expression anchored, other", f.Match("name", "xdb12"), false},
		{"prefix", f.PrefixMatch("id", "abcdef"), true},
		{"prefix, other", f.PrefixMatch("id", "xabc"), false},
		{"part", f.FuzzyMatch("id", "xabc"), true},
		{"labels", f.MatchKVList("label", labels), true},
		{"labels, one has another value", f.MatchKVList("label", map[string]string{"a": "", "b": "2"}), false},
		{"labels, one is missing", f.MatchKVList("label", map[string]string{"b": "1"}), false},
		{"labels, none", f.MatchKVList("label", nil), false},
		{"an empty value is asked for", Filters{"label": {"c="}}.MatchKVList("label", labels), false},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", tc.what, tc.got)
		}
	}
}

func TestBoolAndValidate(t *testing.T) {
	for _, tc := range []struct {
		values []string
		want   bool
		fails  bool
	}{
		{nil, true, false}, {[]string{"1"}, true, false}, {[]string{"true"}, true, false},
		{[]string{"false"}, false, false}, {[]string{"0"}, false, false},
		{[]string{"yes"}, false, true}, {[]string{"true", "false"}, false, true},
	} {
		got, err := Filters{"dangling": tc.values}.Bool("dangling", true)
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%v: %v, %v", tc.values, got, err)
		}
	}
	f := Filters{"a": {"1"}, "z": {"1"}}
	if err := f.Validate("a", "z"); err != nil {
		t.Error(err)
	}
	if err := f.Validate("a"); err == nil || err.Error() != "invalid filter 'z'" {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", `{"status":{"running":true}}`, `{"name":["^a"]}`, `{"a":{"(":true}}`, `{"x":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		filters, err := Parse(s)
		if err != nil && filters != nil {
			t.Errorf("both %v and %v", filters, err)
		}
		for k := range filters {
			filters.Match(k, "value")
			filters.MatchKVList(k, map[string]string{"value": ""})
		}
	})
}
