package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contextual runs a command line with a folder for config.json and no engine.
func contextual(t *testing.T) (dir string, hoy func(line ...string) (code int, out, errs string)) {
	dir = t.TempDir()
	for _, name := range []string{"HOY_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "HOY_CONFIG"} {
		t.Setenv(name, "")
	}
	t.Setenv("DOCKER_CONFIG", dir)
	return dir, func(line ...string) (int, string, string) {
		t.Helper()
		var out, errs strings.Builder
		code := Main(line, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
		return code, out.String(), errs.String()
	}
}

// sum is echo -n far | sha256sum.
const sum = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868"

// TestContexts holds the commands to what docker's print, and their files to docker's.
func TestContexts(t *testing.T) {
	dir, hoy := contextual(t)
	t.Chdir(t.TempDir())
	missing := `context "nope": context not found: open ` + filepath.Join(dir, "contexts/meta/ca3704aa0b06f5954c79ee837faa152d84d6b2d42838f0637a15eda8337dbdce/meta.json") + ": no such file or directory\n"
	for _, c := range []struct {
		line      string
		code      int
		out, errs string
	}{
		{"context show", 0, "default\n", ""},
		{"context create far --description weit --docker host=tcp://h:2376,skip-tls-verify=true", 0, "far\n", "Successfully created context \"far\"\n"},
		{"context create far --docker host=tcp://h:1", 1, "", "hoy: context \"far\" already exists\n"},
		{"context create a", 1, "", "hoy: context name \"a\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"\n"},
		{"context create bad --docker host=tcp://x,nope=1", 1, "", "hoy: unable to create docker endpoint config: unrecognized config key: nope\n"},
		{"context create bad --docker host=ssh://u:p@h", 1, "", "hoy: unable to create docker endpoint config: cannot use the host ssh://u:xxxxx@h: ssh takes no password from an address; use a key\n"},
		{"context create bad --from far --docker host=x", 1, "", "hoy: cannot use --docker flag when --from is set\n"},
		{"context create bad --from nope", 1, "", "hoy: " + missing},
		{"context create n10 --from far", 0, "n10\n", "Successfully created context \"n10\"\n"},
		{"context create n9 --docker from=far", 0, "n9\n", "Successfully created context \"n9\"\n"},
		{"context ls -q", 0, "default\nfar\nn9\nn10\n", ""},
		{"context use nope", 1, "", "hoy: " + missing},
		{"context use far", 0, "far\n", "Current context is now \"far\"\n"},
		{"context show", 0, "far\n", ""},
		{"--context n9 context show", 0, "n9\n", ""},
		{"-H tcp://x:1 context show", 0, "default\n", ""},
		{"-H tcp://x:1 --context n9 context show", 1, "", "hoy: conflicting options: cannot specify both --host and --context\n"},
		{"context ls --format json", 0, `{"Current":false,"Description":"Current DOCKER_HOST based configuration","DockerEndpoint":"unix:///run/hoy/hoy.sock","Error":"","Name":"default"}
{"Current":true,"Description":"weit","DockerEndpoint":"tcp://h:2376","Error":"","Name":"far"}
{"Current":false,"Description":"","DockerEndpoint":"tcp://h:2376","Error":"","Name":"n9"}
{"Current":false,"Description":"weit","DockerEndpoint":"tcp://h:2376","Error":"","Name":"n10"}
`, ""},
		{"context update n9 --docker host=unix:///s --description neun", 0, "n9\n", "Successfully updated context \"n9\"\n"},
		{"context inspect n9 -f {{.Metadata.Description}}|{{.Endpoints.docker.Host}}|{{.Endpoints.docker.SkipTLSVerify}}", 0, "neun|unix:///s|false\n", ""},
		{"context export far", 0, "", "Written file \"far.dockercontext\"\n"},
		{"context export far", 1, "", "hoy: open far.dockercontext: file exists\n"},
		{"context rm far", 1, "", "hoy: context \"far\" is in use, set -f flag to force remove\n"},
		{"context rm -f far", 0, "far\n", ""},
		{"context rm far default n10", 1, "n10\n", "hoy: context \"far\" does not exist\nhoy: context \"default\" cannot be removed\n"},
		{"context show", 0, "default\n", ""},
		{"--context nope context ls -q", 0, "default\nn9\nnope\n", ""},
		{"context import far far.dockercontext", 0, "far\n", "Successfully imported context \"far\"\n"},
		{"--context nope ps", 1, "", "hoy: unable to resolve docker endpoint: " + missing},
	} {
		if code, out, errs := hoy(strings.Fields(c.line)...); code != c.code || out != c.out || errs != c.errs {
			t.Errorf("hoy %s: code %d, stdout\n%s\nstderr %s\nwant %d\n%s\n%s", c.line, code, out, errs, c.code, c.out, c.errs)
		}
	}
	meta, err := os.ReadFile(filepath.Join(dir, "contexts/meta", sum, "meta.json"))
	if want := `{"Name":"far","Metadata":{"Description":"weit"},"Endpoints":{"docker":{"Host":"tcp://h:2376","SkipTLSVerify":true}}}`; err != nil || string(meta) != want {
		t.Errorf("docker would have\n%s\nin the file, there is %s, %v", want, meta, err)
	}
}

// TestContextsOfTheEnvironment shows what precedes the context in use.
func TestContextsOfTheEnvironment(t *testing.T) {
	_, hoy := contextual(t)
	hoy("context", "create", "one", "--docker", "host=tcp://h:1")
	hoy("context", "use", "one")
	for _, c := range []struct{ name, value, shown, warned string }{
		{"DOCKER_CONTEXT", "two", "two\n", ""},
		{"DOCKER_HOST", "tcp://x:1", "default\n", "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.\n"},
		{"HOY_HOST", "tcp://x:1", "default\n", "Warning: HOY_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset HOY_HOST environment variable.\n"},
	} {
		t.Setenv(c.name, c.value)
		if _, out, _ := hoy("context", "show"); out != c.shown {
			t.Errorf("%s=%s: %q is in use, want %q", c.name, c.value, out, c.shown)
		}
		if _, _, errs := hoy("context", "ls"); errs != c.warned {
			t.Errorf("%s=%s: warned %q, want %q", c.name, c.value, errs, c.warned)
		}
		t.Setenv(c.name, "")
	}
}

// TestContextWithTLS reaches an engine by a context's certificates, which only the user
// may read, and by those that were exported.
func TestContextWithTLS(t *testing.T) {
	dir, hoy := contextual(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("[]")) }))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	files := t.TempDir()
	put := func(name, kind string, der []byte) string {
		p := filepath.Join(files, name)
		if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	cert := put("cert", "CERTIFICATE", s.Certificate().Raw)
	der, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := put("key", "PRIVATE KEY", der)
	host := "host=" + strings.Replace(s.URL, "https://", "tcp://", 1)
	hoy("context", "create", "bare", "--docker", host+",skip-tls-verify=true")
	if code, _, errs := hoy("--context", "bare", "ps"); code != 1 {
		t.Errorf("without a certificate: code %d, %s", code, errs)
	}
	if code, _, errs := hoy("context", "create", "far", "--docker", host+",ca="+cert+",cert="+cert+",key="+key); code != 0 {
		t.Fatal(errs)
	}
	archive := filepath.Join(files, "far.tar")
	hoy("context", "export", "far", archive)
	hoy("context", "import", "copy", archive)
	for _, name := range []string{"far", "copy"} {
		if code, _, errs := hoy("--context", name, "ps"); code != 0 {
			t.Errorf("by the context %s: code %d, %s", name, code, errs)
		}
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "ca.pem": 0o600, "cert.pem": 0o600, "key.pem": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, "contexts/tls", sum, "docker", name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want the mode %v", name, fi, err, want)
		}
	}
	hoy("context", "update", "far", "--docker", host)
	if _, out, _ := hoy("context", "inspect", "far", "-f", "{{json .TLSMaterial}}"); out != "{}\n" {
		t.Errorf("a new engine keeps the old one's certificates: %s", out)
	}
}

// TestContextOfOthers keeps what other programs have put into a context and into
// config.json, and a config.json that cannot be read.
func TestContextOfOthers(t *testing.T) {
	dir, hoy := contextual(t)
	file := filepath.Join(dir, "contexts/meta", sum, "meta.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, `{"Name":"far","Metadata":{"Other":{"n":12345678901234567890}},"Endpoints":{"docker":{"Host":"tcp://h:1"},"kubernetes":{"x":1}}}`)
	config := filepath.Join(dir, "config.json")
	write(config, `{"auths":{"x":{"auth":"YTpi"}},"unknown":1}`)
	hoy("context", "update", "far", "--description", "d")
	want := `{"Name":"far","Metadata":{"Description":"d","Other":{"n":12345678901234567890}},"Endpoints":{"docker":{"Host":"tcp://h:1"},"kubernetes":{"x":1}}}`
	if b, _ := os.ReadFile(file); string(b) != want {
		t.Errorf("there is %s, want %s", b, want)
	}
	hoy("context", "use", "far")
	if b, _ := os.ReadFile(config); !strings.Contains(string(b), `"unknown": 1`) || !strings.Contains(string(b), `"currentContext": "far"`) || !strings.Contains(string(b), "YTpi") {
		t.Errorf("config.json is %s", b)
	}
	write(config, "{bad")
	if code, _, errs := hoy("context", "use", "far"); code != 1 || !strings.HasPrefix(errs, "WARNING: cannot read "+config) {
		t.Errorf("code %d, %s", code, errs)
	}
	if b, _ := os.ReadFile(config); string(b) != "{bad" {
		t.Errorf("config.json is %s", b)
	}
}
