package main

import (
	"strings"
	"testing"
)

// TestPages: every command has its page, with what its help says.
func TestPages(t *testing.T) {
	all := pages()
	for path, says := range map[string][]string{
		"man1/hoy.1":               {`.TH "HOY" "1"`, "\\fBhoy\\-run\\fR(1)", `\fB\-\-tlsverify\fR`},
		"man1/hoy-run.1":           {"Create and run", `\fB\-d\fR, \fB\-\-detach\fR`, `\fBhoy\fR(1), \fBhoyd\fR(8)`},
		"man1/hoy-container-run.1": {`hoy\-container\-run \- `},
		"man1/hoy-container.1":     {`\fBhoy\-container\-ls\fR(1)`},
		"man8/hoyd.8":              {`\fB\-\-data\-root\fR \fIdirectory\fR`, "(default /var/lib/hoy)", ".B SIGHUP"},
	} {
		for _, s := range says {
			if !strings.Contains(all[path], s) {
				t.Errorf("%s lacks %q:\n%s", path, s, all[path])
			}
		}
	}
	for path, text := range all {
		for line := range strings.Lines(text) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(word, ".") && !strings.Contains(".TH .SH .TP .B .I", word) {
				t.Errorf("%s: %q is no request of man(7) that is meant here", path, line)
			}
		}
		if strings.Contains(path, "dial-stdio") {
			t.Errorf("%s is of a hidden command", path)
		}
	}
}

func TestEscape(t *testing.T) {
	if got := escape(".a-b\n'c\\d"); got != `\&.a\-b`+"\n"+`\&'c\ed` {
		t.Error(got)
	}
}
