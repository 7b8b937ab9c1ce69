package server

import (
	"strings"
	"testing"
)

// TestDiskUsage: old clients get lists, new ones sums, and both get the other where
// docker's engine gives it.
func TestDiskUsage(t *testing.T) {
	socket, _ := serve(t, &backend{})
	for _, tc := range []struct {
		path        string
		has, hasNot []string
	}{
		{"/v1.43/system/df", []string{`"LayersSize":7`, `"Images":[{`, `"VirtualSize":0`, `"Volumes":[]`}, nil},
		{"/v1.43/system/df?type=volume", []string{`"Volumes":[]`}, []string{"Images"}},
		{"/v1.50/system/df", []string{`"LayersSize":7`, `"Images":[{`, `"Volumes":[]`, `"BuildCache":[{"ID":"a"`}, []string{"ImageUsage"}},
		{"/v1.56/system/df", []string{`"LayersSize":7`, `"Images":[{`, `"ImageUsage":{"TotalCount":1,"TotalSize":7}`}, nil},
		{"/v1.56/system/df?verbose=1", []string{`"ImageUsage":{"Items":[{`, `"BuildCacheUsage":{"Items":[{"ID":"a"`}, []string{"LayersSize", `"Images"`}},
		{"/v1.56/system/df?type=volume&verbose=1", []string{`"VolumeUsage":{}`}, []string{"ImageUsage", "BuildCacheUsage"}},
		{"/v1.56/system/df?type=nonsense", []string{"unknown object type: nonsense"}, nil},
	} {
		_, body := call(t, socket, "GET", tc.path, nil)
		for _, s := range tc.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s lacks %s: %s", tc.path, s, body)
			}
		}
		for _, s := range tc.hasNot {
			if strings.Contains(body, s) {
				t.Errorf("%s has %s: %s", tc.path, s, body)
			}
		}
	}
}
