package applet

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hoy/toolbox/names"
)

// The test program is the toolbox when it is called by a program's name.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); slices.Contains(names.All(), name) {
		os.Exit(Main(os.Args))
	}
	os.Exit(m.Run())
}

func TestNames(t *testing.T) {
	if got, want := list(), names.All(); !slices.Equal(sorted(slices.Clone(want)), got) {
		t.Errorf("implemented %q, linked %q", got, want)
	}
}

func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "f")
	if err := os.WriteFile(f, []byte("b 2\na 1\nb 2\nc 10\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		cmd, in, out string
		code         int
	}{
		{"head -n 1 " + f, "", "b 2\n", 0},
		{"head -2", "1\n2\n3\n", "1\n2\n", 0},
		{"head -c 3", "abcdef", "abc", 0},
		{"tail -n 1 " + f, "", "c 10\n", 0},
		{"wc -l " + f, "", "4 " + f + "\n", 0},
		{"wc", "a b\nc\n", "2 3 6\n", 0},
		{"sort -u " + f, "", "a 1\nb 2\nc 10\n", 0},
		{"sort -rn", "9\n10\n1\n", "10\n9\n1\n", 0},
		{"uniq -c", "a\na\nb\n", "      2 a\n      1 b\n", 0},
		{"grep -n b " + f, "", "1:b 2\n3:b 2\n", 0},
		{"grep -vc b " + f, "", "2\n", 0},
		{"grep nothing " + f, "", "", 1},
		{"grep -o [0-9]+", "a12b3\n", "12\n3\n", 0},
		{"cut -d: -f1,3", "a:b:c\n", "a:c\n", 0},
		{"cut -c2-3", "abcd\n", "bc\n", 0},
		{"tr a-z A-Z", "abc", "ABC", 0},
		{"tr -d b", "abc", "ac", 0},
		{"seq 2 2 6", "", "2\n4\n6\n", 0},
		{"seq 3 -1 1", "", "3\n2\n1\n", 0},
		{"basename /a/b.c .c", "", "b\n", 0},
		{"dirname /a/b", "", "/a\n", 0},
		{"sha256sum", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  -\n", 0},
		{"cat " + f, "", "b 2\na 1\nb 2\nc 10\n", 0},
		{"base64", "hoy", "aG95\n", 0},
		{"printf %s-%d\\n a 3", "", "a-3\n", 0},
		{"test 1 = 2", "", "", 1},
		{"[ -f " + f + " ]", "", "", 0},
		{"true", "", "", 0},
		{"false", "", "", 1},
		{"nothing", "", "", 127},
		{"head -z", "", "", 1},
	} {
		t.Run(tc.cmd, func(t *testing.T) {
			args := strings.Fields(tc.cmd)
			var out, errs bytes.Buffer
			code := run(args[0], args[1:], strings.NewReader(tc.in), &out, &errs)
			if out.String() != tc.out || code != tc.code {
				t.Errorf("%q, code %d, stderr %q; want %q, code %d", out.String(), code, errs.String(), tc.out, tc.code)
			}
		})
	}
}

// sh finds the other programs through PATH, as in the image.
func TestShell(t *testing.T) {
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names.All() {
		if err := os.Symlink(self, filepath.Join(bin, n)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	for _, tc := range []struct {
		name string
		args []string
		in   string
		out  string
		code int
	}{
		{"command", []string{"-c", "echo $0 $1 $#", "me", "x"}, "", "me x 1\n", 0},
		{"pipes", []string{"-c", "seq 3 | sort -r | head -n 1"}, "", "3\n", 0},
		{"code", []string{"-c", "exit 7"}, "", "", 7},
		{"errexit", []string{"-ec", "false; echo no"}, "", "", 1},
		{"syntax", []string{"-c", "if"}, "", "", 2},
		{"not found", []string{"-c", "nosuchprogram"}, "", "", 127},
		{"kill", []string{"-c", "kill -9 99999999; echo $?"}, "", "1\n", 0},
		{"input", nil, "echo a\nif true\nthen echo b\nfi\nexit 3\n", "a\nb\n", 3},
		{"input is shared", nil, "read x\nhello\necho got $x\n", "got hello\n", 0},
		{"no script", []string{"/nonexistent"}, "", "", 127},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			// A file, as in life: the shell must leave in it what is a command's.
			name := filepath.Join(t.TempDir(), "in")
			if err := os.WriteFile(name, []byte(tc.in), 0o600); err != nil {
				t.Fatal(err)
			}
			in, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			code := run("sh", tc.args, in, &out, &errs)
			if out.String() != tc.out || code != tc.code {
				t.Errorf("%q, code %d, stderr %q; want %q, code %d", out.String(), code, errs.String(), tc.out, tc.code)
			}
		})
	}
}

func TestAnatomy(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run("anatomy", nil, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("code %d: %s", code, errs.String())
	}
	for _, want := range []string{"kernel", "userland", "Namespaces", "Limits", "capabilities", "seccomp", "Network", "Processes"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing about %s", want)
		}
	}
}
