package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// listed is a fake with one object of each kind, whose labels would clear a terminal.
func listed(t *testing.T) *fake {
	f := newFake(t)
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	evil := map[string]string{"l": "a\x1b[2Jb"}
	f.json("GET /containers/json", 200, []any{map[string]any{"Id": id, "Names": []string{"/c"}, "Image": "img", "Command": "true\x1b[2J", "State": "exited",
		"Status": "Exited (0) 1 second ago", "Labels": evil, "SizeRw": 5, "SizeRootFs": 70, "HostConfig": map[string]any{}}})
	f.json("GET /containers/c/changes", 200, []any{map[string]any{"Kind": 1, "Path": "/a\x1b[2Jb"}})
	f.json("GET /images/json", 200, []any{map[string]any{"Id": "sha256:" + id, "RepoTags": []string{"img:tag"}, "RepoDigests": []string{"img@sha256:" + id},
		"Size": 1000, "SharedSize": -1, "Containers": -1}})
	f.json("GET /networks", 200, []any{map[string]any{"Id": id, "Name": "n", "Driver": "bridge", "Scope": "local", "Created": "2026-01-02T03:04:05Z"}})
	f.json("GET /volumes", 200, map[string]any{"Volumes": []any{map[string]any{"Name": "v", "Driver": "local", "Labels": evil}}})
	f.json("GET /system/df", 200, map[string]any{"ImageUsage": map[string]any{"TotalCount": 2, "ActiveCount": 1, "TotalSize": 100, "Reclaimable": 50}})
	return f
}

// TestFormatsWithNames compares with what docker's command line prints.
func TestFormatsWithNames(t *testing.T) {
	t.Setenv("TZ", "UTC")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	f := listed(t)
	f.json("GET /volumes/v", 200, map[string]any{"Name": "v", "Driver": "local"})
	const raw = "container_id: 0123456789ab\nimage: img\ncommand: \"true\\x1b[2J\"\ncreated_at: 1970-01-01 00:00:00 +0000 UTC\n" +
		"state: exited\nstatus: Exited (0) 1 second ago\nnames: c\nlabels: l=a\x1b[2Jb\nports:\n"
	const image = "repository: img\ntag: tag\nimage_id: 0123456789ab\ncreated_at: 1970-01-01 00:00:00 +0000 UTC\nvirtual_size: 1kB\n\n"
	for _, c := range []struct{ line, format, out, errs string }{
		{"ps -a", "raw", raw + "\n", ""},
		{"ps -as", "raw", raw + "size: 5B (virtual 70B)\n\n", ""},
		{"ps -aq", "raw", "container_id: 0123456789ab\n", "WARNING: Ignoring custom format, because both --format and --quiet are set.\n"},
		{"ps -aq", "{{.Names}}", "0123456789ab\n", "WARNING: Ignoring custom format, because both --format and --quiet are set.\n"},
		{"images", "raw", image, ""},
		{"images --digests", "raw", strings.Replace(image, "image_id", "digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nimage_id", 1), ""},
		{"images -q", "raw", "image_id: 0123456789ab\n", ""},
		{"images --digests", `table {{.Tag}}`, "TAG       DIGEST\ntag       sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", ""},
		{"network ls", "raw", "network_id: 0123456789ab\nname: n\ndriver: bridge\nscope: local\n\n", ""},
		{"network ls -q", "raw", "network_id: 0123456789ab\n", ""},
		{"volume ls", "raw", "name: v\ndriver: local\n\n", ""},
		{"volume ls -q", "raw", "name: v\n", ""},
		{"volume ls", "table{{.Name}}", "VOLUME NAME\nv\n", ""},
		{"volume ls", "pretty", "pretty\n", ""},
		{"volume ls", "table {{.Nope}}", "", "hoy: template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type cli.volumeRow\n"},
		{"volume inspect v v", "json", `[{"Driver":"local","Name":"v"},{"Driver":"local","Name":"v"}]` + "\n", ""},
		{"system df", "raw", "type: Images\ntotal: 2\nactive: 1\nsize: 100B\nreclaimable: 50B (50%)\n\n", ""},
		{"system df", "json", `{"Active":"1","Reclaimable":"50B (50%)","Size":"100B","TotalCount":"2","Type":"Images"}` + "\n", ""},
	} {
		code, out, errs := f.hoy("", append(strings.Fields(c.line), "--format", c.format)...)
		if out != c.out || errs != c.errs || (code != 0) != strings.Contains(c.errs, "error") {
			t.Errorf("hoy %s --format '%s': code %d, stdout\n%s\nstderr %s\nwant\n%s\n%s", c.line, c.format, code, out, errs, c.out, c.errs)
		}
	}
}

// TestTerminalIsNotDriven shows control characters in what containers and images bring
// along, on a terminal; a program that reads the output gets them as they are.
func TestTerminalIsNotDriven(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	f := listed(t)
	f.json("GET /volumes/v", 200, map[string]any{"Name": "v", "Labels": map[string]string{"l": "a\x7f\u009bb"}})
	for _, c := range []struct {
		line        []string
		piped, seen string
	}{
		{[]string{"ps", "-a", "--format", "{{.Labels}}"}, "l=a\x1b[2Jb\n", "l=a\\x1b[2Jb\r\n"},
		{[]string{"volume", "ls", "--format", "table \x1b[1m{{.Label \"l\"}}"}, "\x1b[1ml\n\x1b[1ma\x1b[2Jb\n", "\x1b[1ml\r\n\x1b[1ma\\x1b[2Jb\r\n"},
		{[]string{"volume", "inspect", "v", "--format", "{{.Labels}}"}, "map[l:a\x7f\u009bb]\n", "map[l:a\\x7f\\u009bb]\r\n"},
		{[]string{"diff", "c"}, "A /a\x1b[2Jb\n", "A /a\\x1b[2Jb\r\n"},
	} {
		if _, out, errs := f.hoy("", c.line...); out != c.piped {
			t.Errorf("hoy %q: %q into a pipe, want %q: %s", c.line, out, c.piped, errs)
		}
		if out := f.onTerminal(c.line...); out != c.seen {
			t.Errorf("hoy %q: %q on a terminal, want %q", c.line, out, c.seen)
		}
	}
}

// onTerminal runs a command line whose output is a terminal, and returns what that gets.
func (f *fake) onTerminal(args ...string) string {
	f.t.Helper()
	screen, out, err := pty.Open()
	if err != nil {
		f.t.Fatal(err)
	}
	defer screen.Close()
	var errs strings.Builder
	go func(out *os.File) {
		Main(append([]string{"-H", "unix://" + f.socket}, args...), Streams{In: strings.NewReader(""), Out: out, Err: &errs})
		out.Close()
	}(out)
	seen, _ := io.ReadAll(screen) // ends with an error when the other side is closed
	return fmt.Sprint(string(seen), errs.String())
}
