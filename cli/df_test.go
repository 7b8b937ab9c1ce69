package cli

import (
	"strings"
	"testing"
)

// TestUsageByTemplate gives a template all that takes space at once, with whole ids.
func TestUsageByTemplate(t *testing.T) {
	id := strings.Repeat("ab", 32)
	f := newFake(t)
	f.json("GET /system/df", 200, map[string]any{
		"ImageUsage":     map[string]any{"Items": []any{map[string]any{"Id": "sha256:" + id, "RepoTags": []string{"a:1", "b:2"}, "Size": 123456, "SharedSize": 23456}}},
		"ContainerUsage": map[string]any{"Items": []any{map[string]any{"Id": id, "Names": []string{"/c"}, "SizeRw": 4096, "SizeRootFs": 9999}}},
		"VolumeUsage":    map[string]any{"Items": []any{map[string]any{"Name": "v", "UsageData": map[string]any{"Size": 12345, "RefCount": 2}}}},
	})
	text := `{{range .Images}}{{.Repository}} {{.ID}} {{.Size}} {{.UniqueSize}}{{end}};{{range .Containers}}{{.Names}} {{.ID}} {{.Size}}{{end}};{{range .Volumes}}{{.Name}} {{.Size}} {{.Links}}{{end}};{{len .BuildCache}}`
	want := "a sha256:" + id + " 123kB 100kB;c " + id + " 4.1kB;v 12.35kB 2;0\n"
	if code, out, errs := f.hoy("", "system", "df", "-v", "--format", text); code != 0 || out != want {
		t.Errorf("code %d, stderr %q, got\n%swant\n%s", code, errs, out, want)
	}
	if _, out, _ := f.hoy("", "system", "df", "-v", "--format", "json"); !strings.Contains(out, `"BuildCache":[]`) {
		t.Errorf("json: %s", out)
	}
}
