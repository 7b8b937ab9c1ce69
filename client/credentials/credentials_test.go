package credentials

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"

	"hoy/client/configfile"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(configfile.Read(dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestFile keeps what it does not know, and writes what docker reads.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	real, file := filepath.Join(dir, "real.json"), filepath.Join(dir, "config.json")
	write(t, real, `{"currentContext":"c","HttpHeaders":{"X":"<&>"},"auths":{"example.org":{"auth":"YTpi","email":"e","new":1}},"unknown":{"deep":[12345678901234567890]}}`, 0o644)
	if err := os.Symlink(real, file); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	plain, err := s.Put(registry.AuthConfig{Username: "me", Password: "p:w", ServerAddress: "example.com:5000"})
	if err != nil || !plain {
		t.Fatal(plain, err)
	}
	if plain, err = s.Put(registry.AuthConfig{Username: "me", IdentityToken: "t", ServerAddress: "example.net"}); err != nil || plain {
		t.Fatalf("a token is no password: %v, %v", plain, err)
	}
	want := `{
	"HttpHeaders": {
		"X": "<&>"
	},
	"auths": {
		"example.com:5000": {
			"auth": "bWU6cDp3"
		},
		"example.net": {
			"auth": "bWU6",
			"identitytoken": "t"
		},
		"example.org": {
			"auth": "YTpi",
			"email": "e",
			"new": 1
		}
	},
	"currentContext": "c",
	"unknown": {
		"deep": [
			12345678901234567890
		]
	}
}
`
	if b, _ := os.ReadFile(real); string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
	if fi, err := os.Lstat(file); err != nil || fi.Mode().Type() != os.ModeSymlink {
		t.Error("the link is gone")
	}
	if fi, _ := os.Stat(file); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	s = open(t, dir)
	for server, want := range map[string]registry.AuthConfig{
		"example.com:5000": {Username: "me", Password: "p:w"}, "example.net": {Username: "me", IdentityToken: "t"}, "example.org": {Username: "a", Password: "b"}, "example.edu": {},
	} {
		want.ServerAddress = server
		if got, err := s.Get(server); err != nil || got != want {
			t.Errorf("%s: %+v, %v", server, got, err)
		}
	}
	for _, server := range []string{"example.com:5000", "example.net", "example.org", "example.edu"} {
		if err := s.Erase(server); err != nil {
			t.Fatal(err)
		}
	}
	var used string
	if s = open(t, dir); len(s.Servers()) != 0 || s.file.Get("currentContext", &used) != nil || used != "c" {
		t.Errorf("%+v", s)
	}
	if l, _ := os.ReadDir(dir); len(l) != 2 {
		t.Errorf("left over: %v", l)
	}
}

// TestNone: no file, an empty one, and the address that old files have.
func TestNone(t *testing.T) {
	dir := t.TempDir()
	if s := open(t, dir); len(s.Servers()) != 0 {
		t.Error("not empty")
	}
	for _, text := range []string{"", " \n", "null", "{}", `{"auths":null}`} {
		write(t, filepath.Join(dir, "config.json"), text, 0o600)
		s := open(t, dir)
		if a, err := s.Get("example.com"); err != nil || a != (registry.AuthConfig{ServerAddress: "example.com"}) || len(s.Servers()) != 0 {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
		if _, err := s.Put(registry.AuthConfig{Username: "me", ServerAddress: "example.com"}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	write(t, filepath.Join(dir, "config.json"), `{"auths":{"https://example.com/v1/":{"auth":"YTpi"}}}`, 0o600)
	if a, err := open(t, dir).Get("example.com"); err != nil || a.Username != "a" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, text := range []string{"{", "[]", `{"auths":[]}`, `{"credsStore":1}`} {
		write(t, filepath.Join(dir, "config.json"), text, 0o600)
		if _, err := Open(configfile.Read(dir)); err == nil || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, auth := range []string{"!", "YQ==", "OmI="} {
		write(t, filepath.Join(dir, "config.json"), `{"auths":{"example.com":{"auth":"`+auth+`"}}}`, 0o600)
		if a, err := open(t, dir).Get("example.com"); err == nil {
			t.Errorf("auth %q: %+v", auth, a)
		}
	}
}

// helperProgram keeps one file for each server, as a key ring would.
const helperProgram = `#!/bin/sh
cd "$STORE" || exit 2
in=$(cat)
file() { printf %s "$1" | tr '/:' '__'; }
case $1 in
store) url=${in#*'"ServerURL":"'}; url=${url%%'"'*}; printf %s "$in" >"$(file "$url")" ;;
get) cat "$(file "$in")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$(file "$in")" 2>/dev/null || { echo "the key ring is locked"; exit 1; } ;;
esac
`

// TestPrograms holds the protocol by a program that speaks it.
func TestPrograms(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(bin, "docker-credential-ring"), helperProgram, 0o755)
	write(t, filepath.Join(bin, "docker-credential-odd"), "#!/bin/sh\ncat >/dev/null; echo [", 0o755)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("STORE", t.TempDir())
	write(t, filepath.Join(dir, "config.json"), `{"credsStore":"ring","credHelpers":{"example.org":"odd","example.net":"../../evil","example.edu":"absent-one"}}`, 0o600)
	s := open(t, dir)
	for _, a := range []registry.AuthConfig{
		{Username: "me", Password: `p"w`, ServerAddress: "https://index.example.com/v1/"}, {IdentityToken: "t", ServerAddress: "example.com"},
	} {
		if got, err := s.Get(a.ServerAddress); err != nil || got != (registry.AuthConfig{ServerAddress: a.ServerAddress}) {
			t.Errorf("before: %+v, %v", got, err)
		}
		if plain, err := s.Put(a); err != nil || plain {
			t.Fatal(plain, err)
		}
		if got, err := s.Get(a.ServerAddress); err != nil || got != a {
			t.Errorf("%+v, %v", got, err)
		}
	}
	var f struct{ Auths map[string]any }
	b, _ := os.ReadFile(filepath.Join(dir, "config.json"))
	if err := json.Unmarshal(b, &f); err != nil || fmt.Sprint(f.Auths) != "map[example.com:map[] https://index.example.com/v1/:map[]]" {
		t.Errorf("the file has %v, %v", f.Auths, err)
	}
	if err := s.Erase("example.com"); err != nil {
		t.Error(err)
	}
	if err := s.Erase("example.com"); err == nil || !strings.Contains(err.Error(), "docker-credential-ring: the key ring is locked") {
		t.Error(err)
	}
	for server, want := range map[string]string{"example.org": "cannot read the answer of docker-credential-odd", "example.net": "invalid name", "example.edu": "docker-credential-absent-one"} {
		if a, err := s.Get(server); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", server, a, err)
		}
	}
}

func TestHost(t *testing.T) {
	for address, want := range map[string]string{
		"https://index.example.com/v1/": "index.example.com", "http://example.com:5000": "example.com:5000", "example.com:5000/x": "example.com:5000",
		"https://[2001:db8::1]:5000/": "[2001:db8::1]:5000", "localhost": "localhost", "": "",
	} {
		if got := Host(address); got != want {
			t.Errorf("%s: %s", address, got)
		}
	}
}

// TestGive: what a variable gives precedes the file and its programs, and is not kept.
func TestGive(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), `{"auths":{"a.example":{"auth":"ZmlsZTpwdw=="},"b.example":{"auth":"ZmlsZTpwdw=="}},"credHelpers":{"c.example":"nosuch"}}`, 0o600)
	s := open(t, dir)
	if err := s.Give(`{"auths":{"a.example":{"auth":"Z2l2ZW46cHc="},"https://c.example/v1/":{"auth":"Z2l2ZW46cHc="}}}`); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{"a.example": "given", "b.example": "file", "c.example": "given", "d.example": ""} {
		if a, err := s.Get(server); err != nil || a.Username != want || a.ServerAddress != server {
			t.Errorf("%s: %+v, %v", server, a, err)
		}
	}
	if _, err := s.Put(registry.AuthConfig{ServerAddress: "a.example", Username: "new", Password: "pw"}); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Get("a.example"); err != nil || a.Username != "new" {
		t.Errorf("after a login: %+v, %v", a, err)
	}
	if b, err := os.ReadFile(s.File()); err != nil || strings.Contains(string(b), "Z2l2ZW46cHc=") {
		t.Errorf("kept: %s, %v", b, err)
	}
	for _, text := range []string{"x", `{"auths":[]}`, `{"auth":{}}`} {
		if err := s.Give(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
