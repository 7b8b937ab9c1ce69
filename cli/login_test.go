package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/moby/moby/api/types/registry"
)

// loginEngine is a fake whose registries know one name and password; asks has what they
// were asked.
func loginEngine(t *testing.T, token string) (f *fake, asks *[]registry.AuthConfig) {
	f, asks = newFake(t), new([]registry.AuthConfig)
	f.json("GET /info", 200, map[string]any{"IndexServerAddress": defaultIndex})
	f.mux.HandleFunc("POST /auth", func(w http.ResponseWriter, r *http.Request) {
		var a registry.AuthConfig
		json.NewDecoder(r.Body).Decode(&a)
		*asks = append(*asks, a)
		if a.Username != "me" || a.Password != "secret" {
			w.WriteHeader(401)
			json.NewEncoder(w).Encode(map[string]string{"message": "wrong"})
			return
		}
		json.NewEncoder(w).Encode(registry.AuthResponse{Status: "Login Succeeded", IdentityToken: token})
	})
	return f, asks
}

const insecure = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		line, in, server string
		warned           bool
	}{
		{"login -u me -p secret", "", defaultIndex, true},
		{"login -u me --password-stdin example.com:5000", "secret\n", "example.com:5000", false},
		{"login -u me --password-stdin https://example.com/v2/", "secret\r\n", "example.com", false},
		{"login -u me --password-stdin example.org", "secret", defaultIndex, false},
	} {
		dir := config(t, "")
		f, asks := loginEngine(t, "")
		code, out, errs := f.hoy(c.in, strings.Fields(c.line)...)
		if code != 0 || out != "Login Succeeded\n" || strings.HasPrefix(errs, insecure) != c.warned || !strings.Contains(errs, "stored unencrypted in '"+dir+"/config.json'") {
			t.Errorf("hoy %s: code %d, stdout %q, stderr %q", c.line, code, out, errs)
		}
		if want := (registry.AuthConfig{Username: "me", Password: "secret", ServerAddress: c.server}); len(*asks) != 1 || (*asks)[0] != want {
			t.Errorf("hoy %s: asked %+v", c.line, *asks)
		}
		b, _ := os.ReadFile(filepath.Join(dir, "config.json"))
		if !strings.Contains(string(b), `"`+c.server+`"`) || !strings.Contains(string(b), "bWU6c2VjcmV0") {
			t.Errorf("hoy %s: the file has\n%s", c.line, b)
		}
	}
}

// TestLoginToken keeps a token in place of the password.
func TestLoginToken(t *testing.T) {
	dir := config(t, "")
	f, _ := loginEngine(t, "an-identity")
	code, _, errs := f.hoy("secret", "login", "-u", "me", "--password-stdin", "example.com")
	b, _ := os.ReadFile(filepath.Join(dir, "config.json"))
	if code != 0 || errs != "" || !strings.Contains(string(b), `"identitytoken": "an-identity"`) || strings.Contains(string(b), "bWU6c2VjcmV0") {
		t.Errorf("code %d, stderr %q, the file has\n%s", code, errs, b)
	}
}

func TestLoginFailures(t *testing.T) {
	dir := config(t, "")
	f, _ := loginEngine(t, "")
	for line, want := range map[string]string{
		"login":                                "hoy: cannot perform an interactive login from a non TTY device: give -u NAME and --password-stdin\n",
		"login -u me":                          "hoy: cannot perform an interactive login from a non TTY device: give -u NAME and --password-stdin\n",
		"login --password-stdin":               "hoy: the --password-stdin option requires --username to be set\n",
		"login --username= -p x":               "hoy: username is empty\n",
		"login -u me --password=":              "hoy: password is empty\n",
		"login -u me -p x --password-stdin":    "hoy: conflicting options: cannot specify both --password and --password-stdin\n",
		"login -u me -p wrong example.com":     insecure + "Error response from daemon: wrong\n",
		"login -u me --password-stdin one two": "hoy: 'hoy login' requires at most 1 argument\n\nUsage:  hoy login [OPTIONS] [SERVER]\n\nSee 'hoy login --help'.\n",
	} {
		if code, out, errs := f.hoy("", strings.Fields(line)...); code != 1 || out != "" || errs != want {
			t.Errorf("hoy %s: code %d, stdout %q, stderr %q", line, code, out, errs)
		}
	}
	if l, _ := os.ReadDir(dir); len(l) != 0 {
		t.Errorf("written: %v", l)
	}
}

// typist answers prompts on a terminal, and returns what it shows at its end.
func typist(t *testing.T, f *fake, args []string, answers ...[2]string) (code int, shown string) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	done := make(chan int, 1)
	go func() {
		done <- Main(append([]string{"-H", "unix://" + f.socket}, args...), Streams{In: tty, Out: tty, Err: tty})
		tty.Close()
	}()
	b := make([]byte, 1024)
	for {
		n, err := master.Read(b)
		if err != nil {
			return <-done, shown
		}
		shown += string(b[:n])
		if len(answers) > 0 && strings.HasSuffix(shown, answers[0][0]) {
			master.WriteString(answers[0][1] + "\n")
			answers = answers[1:]
		}
	}
}

// TestLoginTyped asks for what is missing. The password does not show.
func TestLoginTyped(t *testing.T) {
	config(t, "")
	f, asks := loginEngine(t, "")
	code, shown := typist(t, f, []string{"login", "example.com"}, [2]string{"Username: ", "me"}, [2]string{"Password: ", "secret"})
	if code != 0 || strings.Contains(shown, "secret") || !strings.Contains(shown, "Username: me\r\nPassword: \r\n") || !strings.HasSuffix(shown, "Login Succeeded\r\n") {
		t.Errorf("code %d, the terminal shows\n%s", code, shown)
	}
	*asks = nil // what is kept is enough the next time
	code, shown = typist(t, f, []string{"login", "example.com"})
	if code != 0 || !strings.Contains(shown, "existing credentials... [Username: me]") || len(*asks) != 1 {
		t.Errorf("code %d, asked %+v, the terminal shows\n%s", code, *asks, shown)
	}
}

// TestLoginExpired asks anew when what is kept is not taken any more.
func TestLoginExpired(t *testing.T) {
	config(t, `{"auths":{"example.com":{"auth":"bWU6b2xk"}}}`) // me:old
	f, _ := loginEngine(t, "")
	code, shown := typist(t, f, []string{"login", "example.com"}, [2]string{"Username (me): ", ""}, [2]string{"Password: ", "secret"})
	if code != 0 || !strings.Contains(shown, "Login did not succeed, error: Error response from daemon: wrong") || !strings.HasSuffix(shown, "Login Succeeded\r\n") {
		t.Errorf("code %d, the terminal shows\n%s", code, shown)
	}
	code, shown = typist(t, f, []string{"login", "example.net"}, [2]string{"Username: ", ""})
	if code != 1 || !strings.HasSuffix(shown, "cannot log in without a name\r\n") {
		t.Errorf("code %d, the terminal shows\n%s", code, shown)
	}
}

func TestLogout(t *testing.T) {
	const all = `{"auths":{"` + defaultIndex + `":{},"example.com":{},"https://example.com":{},"example.net":{}},"detachKeys":"ctrl-x"}`
	for _, c := range []struct {
		line, out string
		left      []string
	}{
		{"logout", defaultIndex, []string{"example.com", "example.net", "https://example.com"}},
		{"logout example.org", "example.org", []string{"example.com", "example.net", "https://example.com"}},
		{"logout example.com", "example.com", []string{"example.net", defaultIndex}},
		{"logout https://example.com", "example.com", []string{"example.net", defaultIndex}},
		{"logout example.edu", "example.edu", []string{"example.com", "example.net", "https://example.com", defaultIndex}},
	} {
		dir := config(t, all)
		f, _ := loginEngine(t, "")
		code, out, errs := f.hoy("", strings.Fields(c.line)...)
		b, _ := os.ReadFile(filepath.Join(dir, "config.json"))
		var left struct {
			Auths      map[string]any
			DetachKeys string
		}
		json.Unmarshal(b, &left)
		var names []string
		for n := range left.Auths {
			names = append(names, n)
		}
		slices.Sort(names)
		if code != 0 || out != "Removing login credentials for "+c.out+"\n" || errs != "" || !slices.Equal(names, c.left) || left.DetachKeys != "ctrl-x" {
			t.Errorf("hoy %s: code %d, stdout %q, stderr %q, left %q", c.line, code, out, errs, names)
		}
	}
	config(t, `{"credsStore":"absent-one"}`)
	f, _ := loginEngine(t, "")
	if code, _, errs := f.hoy("", "logout", "example.com"); code != 1 || !strings.Contains(errs, "docker-credential-absent-one") {
		t.Errorf("a program that is missing: code %d, stderr %q", code, errs)
	}
}
