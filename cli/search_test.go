package cli

import (
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"
)

func TestSearch(t *testing.T) {
	f := newFake(t)
	f.json("GET /info", 200, map[string]string{"IndexServerAddress": "https://index.example.org/v1/"})
	f.json("GET /images/search", 200, []registry.SearchResult{
		{Name: "one", Description: "what one is said to be,\nin more words than there is room for", StarCount: 12, IsOfficial: true}, {Name: "me/two"},
	})
	for _, c := range []struct{ line, asked, want string }{
		{"search x", "term=x", "NAME DESCRIPTION STARS OFFICIAL\none what one is said to be, in more words than t… 12 [OK]\nme/two 0\n"},
		{"search --no-trunc --format {{.Description}} x", "term=x", "what one is said to be, in more words than there is room for\n\n"},
		{"search --limit 5 -f stars=3 --filter is-official=true --format json example.com/x", `filters=%7B%22is-official%22%3A%7B%22true%22%3Atrue%7D%2C%22stars%22%3A%7B%223%22%3Atrue%7D%7D&limit=5&term=example.com%2Fx`,
			`{"Description":"what one is said to be, in more words than t…","IsOfficial":"true","Name":"one","StarCount":"12"}` + "\n" + `{"Description":"","IsOfficial":"false","Name":"me/two","StarCount":"0"}` + "\n"},
	} {
		code, out, errs := f.hoy("", strings.Fields(c.line)...)
		lines := strings.Split(out, "\n")
		for i := range lines {
			if !strings.HasPrefix(c.want, "{") {
				lines[i] = strings.Join(strings.Fields(lines[i]), " ")
			}
		}
		asks := f.asked()
		if got := strings.Join(lines, "\n"); code != 0 || errs != "" || got != c.want {
			t.Errorf("%s: code %d, stderr %q, stdout\n%s\nwant\n%s", c.line, code, errs, got, c.want)
		}
		if last := asks[len(asks)-1]; !strings.HasSuffix(last, "/images/search?"+c.asked) {
			t.Errorf("%s: asked %s", c.line, last)
		}
	}
	if code, _, errs := f.hoy("", "search", "-f", "is-automated=true", "x"); code != 0 || !strings.HasPrefix(errs, "WARNING:") {
		t.Errorf("code %d, %q", code, errs)
	}
}
