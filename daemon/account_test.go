package daemon

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAccount: every flag of dockerd and every key of daemon.json is accounted for:
// it changes an option, says that it does not, or is refused with a reason. The golden
// file has the answers.
func TestAccount(t *testing.T) {
	t.Setenv("DOCKER_TLS_VERIFY", "")
	var b strings.Builder
	n := map[string]int{}
	for _, list := range []struct {
		file string
		args func(name, value string) []string
	}{
		{"dockerd-flags", func(name, value string) []string {
			if name == "config-file" {
				return []string{"--config-file=" + value}
			}
			return []string{"--" + name + "=" + value, "--config-file=testdata/empty.json"}
		}},
		{"dockerd-keys", func(name, value string) []string {
			return []string{file(t, fmt.Sprintf(`{%q: %s}`, name, value))}
		}},
	} {
		fmt.Fprintf(&b, "# %s\n", list.file)
		for name, value := range samples(t, list.file) {
			if name == "version" {
				continue // Main's own
			}
			n[list.file]++
			fmt.Fprintf(&b, "%s %s: %s\n", name, value, answer(list.args(name, value)))
		}
	}
	if n["dockerd-flags"] < 88 || n["dockerd-keys"] < 100 {
		t.Errorf("the lists are not whole: %v", n)
	}
	golden(t, "account.golden", b.String())
}

// samples reads a list of names with values, in order.
func samples(t *testing.T, name string) func(func(string, string) bool) {
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(string, string) bool) {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			name, value, _ := strings.Cut(s.Text(), " ")
			if name != "#" && !yield(name, value) {
				return
			}
		}
	}
}

// answer says what the options make of arguments.
func answer(args []string) string {
	plain, _, _ := Parse([]string{"--config-file=testdata/empty.json"})
	o, warnings, err := Parse(args)
	if err != nil {
		text := err.Error()
		if _, after, ok := strings.Cut(text, "daemon.json: "); ok {
			text = after
		}
		return "refused: " + text
	}
	if len(warnings) > 0 {
		return "warned: " + strings.Join(warnings, "; ")
	}
	changed := !maps.Equal(o.values, plain.values)
	o.args, o.values, plain.args, plain.values = nil, nil, nil, nil
	switch {
	case !reflect.DeepEqual(o, plain):
		return "effective"
	case changed:
		return "holds anyhow"
	}
	return "nothing to say"
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the options say now; -update writes it anew:\n%s", path, got)
	}
}
