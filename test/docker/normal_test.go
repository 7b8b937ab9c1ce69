package docker

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// normaliser replaces what differs from one run to the next: ids by numbers in the
// order of their appearance, so that the same id is the same number; times, ages,
// sizes, addresses, and the width of columns.
type normaliser struct {
	places []string // pairs for strings.NewReplacer
	ids    []string // long and short ones as they appeared
}

func newNormaliser(places map[string]string) *normaliser {
	n := &normaliser{}
	paths := make([]string, 0, len(places))
	for p := range places {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, p := range paths {
		n.places = append(n.places, p, "<"+places[p]+">")
	}
	return n
}

// patterns are replaced in this order; each names what it replaces.
var patterns = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\b(19[7-9]|20[0-9])\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4} [A-Z]+)?`), "<time>"},
	{regexp.MustCompile(`\b1[6-9]\d{8}\.\d{9}\b`), "<time>"},
	{regexp.MustCompile(`\b1[6-9]\d{8,17}\b`), "<time>"},
	{regexp.MustCompile(`\b(Less than a second|About a minute|About an hour|\d+ (second|minute|hour|day|week|month)s?)( ago)?\b`), "<age>"},
	{regexp.MustCompile(`"Pid":[1-9]\d*`), `"Pid":<pid>`},
	// What the machine has.
	{regexp.MustCompile(`"CgroupnsMode":"(host|private)"`), `"CgroupnsMode":"<by cgroup version>"`},
	{regexp.MustCompile(`"OomKillDisable":(false|null)`), `"OomKillDisable":<by cgroup version>`},
	{regexp.MustCompile(`"/sys/devices/system/cpu/cpu\d+/thermal_throttle",?`), ""},
	{regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`), ""},
	{regexp.MustCompile(`BusyBox v[^\n]*`), "BusyBox"},
	{regexp.MustCompile(`from 0\.01 to \d+\.00, as there are only \d+ CPUs`), "from 0.01 to <n>, as there are only <n> CPUs"},
	{regexp.MustCompile(`available: [0-9,-]+`), "available: <n>"},
	{regexp.MustCompile(`\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`), "<mac>"},
	{regexp.MustCompile(`\b(10|172|192)\.\d+\.\d+\.\d+\b`), "<address>"},
	{regexp.MustCompile(`\b[1-9]\d*(\.\d+)?(B|kB|MB|GB|KiB|MiB|GiB)\b`), "<size>"},
	{regexp.MustCompile(` *\t *|  +`), "  "},
	{regexp.MustCompile(`(?m) +$`), ""},
	{regexp.MustCompile(`\bdocker\.io/`), "<registry>/"},
	// The programs between the reference engine and the container; hoy has none.
	{regexp.MustCompile(`failed to create shim task: OCI runtime create failed: runc create failed: (unable to start container process: )?(error during container init: )?`), ""},
	// The client's own trouble with a request that is refused early; it does not always come.
	{regexp.MustCompile(`(?m)^2> time="[^"]*" level=error msg="Can't (add file|close tar writer).*\n`), ""},
	// What later clients say of the builder without BuildKit, and how large a context is.
	{regexp.MustCompile(`(?m)^2> DEPRECATED: The legacy builder is deprecated(.*\n2> +.*)*\n(2>\n)?`), ""},
	// Later clients say it in other words.
	{regexp.MustCompile(`(?m)^2> (Run|See) 'docker [a-z ]*--help'.*\n`), ""},
	{regexp.MustCompile(`(?m)^2>\n`), ""},
}

var id = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{12})\b`)

func (n *normaliser) normal(text string) string {
	text = strings.NewReplacer(n.places...).Replace(text)
	text = strings.ReplaceAll(text, "\r", `\r`) // an editor would lose it
	text = id.ReplaceAllStringFunc(text, n.number)
	for _, p := range patterns {
		text = p.what.ReplaceAllString(text, p.by)
	}
	return text
}

// number names an id. A short one has the number of the long one it begins.
func (n *normaliser) number(id string) string {
	kind := "id"
	if len(id) == 12 {
		kind = "short"
	}
	i := slices.IndexFunc(n.ids, func(known string) bool {
		return strings.HasPrefix(known, id) || strings.HasPrefix(id, known)
	})
	if i < 0 {
		i = len(n.ids)
		n.ids = append(n.ids, id)
	}
	return fmt.Sprintf("<%s%d>", kind, i+1)
}
