// Package filters reads docker's `filters` query parameter and matches values against it.
package filters

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"hoy/lib/fault"
)

// Filters are the wanted values by key. A thing passes when, for every key, one
// of the key's values matches (labels: all of them). nil lets everything pass.
type Filters map[string][]string

// maxSize bounds the parameter: nobody types that many filters.
const maxSize = 1 << 20

// Parse reads both JSON forms docker's clients send: {"key":{"value":true}}
// (since API 1.22) and {"key":["value"]} (before). An empty string is no filter.
func Parse(s string) (Filters, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxSize {
		return nil, fault.New(fault.Invalid, "invalid filter: longer than %d bytes", maxSize)
	}
	var sets map[string]map[string]bool
	if json.Unmarshal([]byte(s), &sets) == nil {
		f := make(Filters, len(sets))
		for k, set := range sets {
			values := make([]string, 0, len(set))
			for v := range set {
				values = append(values, v)
			}
			slices.Sort(values)
			f[k] = values
		}
		return f, nil
	}
	var lists map[string][]string
	if err := json.Unmarshal([]byte(s), &lists); err != nil {
		return nil, fault.New(fault.Invalid, "invalid filter: %w", err)
	}
	return Filters(lists), nil
}

// Validate refuses keys that are not among known.
func (f Filters) Validate(known ...string) error {
	keys := make([]string, 0, len(f))
	for k := range f {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !slices.Contains(known, k) {
			return fault.New(fault.Invalid, "invalid filter '%s'", k)
		}
	}
	return nil
}

// Has reports whether key filters anything.
func (f Filters) Has(key string) bool { return len(f[key]) > 0 }

// Get returns the values of key.
func (f Filters) Get(key string) []string { return f[key] }

// ExactMatch reports whether v is one of key's values, or key is not filtered.
func (f Filters) ExactMatch(key, v string) bool {
	return !f.Has(key) || slices.Contains(f[key], v)
}

// PrefixMatch reports whether v begins with one of key's values, or key is not filtered.
func (f Filters) PrefixMatch(key, v string) bool {
	return !f.Has(key) || slices.ContainsFunc(f[key], func(p string) bool { return strings.HasPrefix(v, p) })
}

// Match reports whether one of key's values matches v as a regular expression,
// or key is not filtered. A value that is no expression matches by equality.
func (f Filters) Match(key, v string) bool {
	if f.ExactMatch(key, v) {
		return true
	}
	return slices.ContainsFunc(f[key], func(p string) bool {
		ok, err := regexp.MatchString(p, v)
		return err == nil && ok
	})
}

// FuzzyMatch reports whether v contains one of key's values, or key is not filtered.
func (f Filters) FuzzyMatch(key, v string) bool {
	return !f.Has(key) || slices.ContainsFunc(f[key], func(p string) bool { return strings.Contains(v, p) })
}

// MatchKVList reports whether labels holds every value of key, each written
// "name" or "name=value". "name=" asks for an empty value.
func (f Filters) MatchKVList(key string, labels map[string]string) bool {
	for _, want := range f[key] {
		name, value, withValue := strings.Cut(want, "=")
		got, ok := labels[name]
		if !ok || withValue && got != value {
			return false
		}
	}
	return true
}

// Bool returns the truth value of key, def when it is not there.
func (f Filters) Bool(key string, def bool) (bool, error) {
	values := f[key]
	if len(values) == 0 {
		return def, nil
	}
	isTrue := slices.Contains(values, "1") || slices.Contains(values, "true")
	isFalse := slices.Contains(values, "0") || slices.Contains(values, "false")
	if isTrue == isFalse {
		return false, fault.New(fault.Invalid, "invalid filter '%s=%s'", key, values)
	}
	return isTrue, nil
}
