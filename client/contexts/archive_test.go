package contexts

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func archived(t testing.TB, files ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(files[i+1]))
	}
	w.Close()
	return b.Bytes()
}

const meta = `{"Name":"other","Endpoints":{"docker":{"Host":"tcp://h:1"}}}`

func TestArchive(t *testing.T) {
	c, tls := New("one", "d", Endpoint{Host: "tcp://h:1", SkipTLSVerify: true}), TLS{}
	tls.PutEngine(map[string][]byte{"ca.pem": []byte("ca"), "key.pem": []byte("key")})
	var b bytes.Buffer
	if err := Export(&b, c, tls); err != nil {
		t.Fatal(err)
	}
	got, certificates, err := Import(&b, "two")
	if err != nil || !reflect.DeepEqual(certificates, tls) {
		t.Fatal(certificates, err)
	}
	if e, err := got.Engine(); err != nil || got.Name != "two" || got.Metadata.Description != "d" || e.Host != "tcp://h:1" || !e.SkipTLSVerify {
		t.Errorf("%+v, %v", got, err)
	}
	b.Reset()
	z := zip.NewWriter(&b)
	w, _ := z.Create("meta.json")
	w.Write([]byte(meta))
	z.Close()
	if got, _, err = Import(&b, "three"); err != nil || got.Name != "three" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHostileArchives: a context may come from anybody.
func TestHostileArchives(t *testing.T) {
	for want, files := range map[string][]string{
		"unexpected context file":     {"meta.json", meta, "../x", ""},
		"unexpected path format":      {"meta.json", meta, "tls/docker/../../../x", ""},
		"archive format is invalid":   {"meta.json", meta, "tls/docker/deep/x", ""},
		`unexpected '\'`:              {"meta.json", meta, `tls/docker\x`, ""},
		"no metadata":                 {"tls/docker/ca.pem", "x"},
		"exceeds the defined limit":   {"meta.json", meta, "tls/docker/ca.pem", strings.Repeat("x", largest)},
		"invalid character":           {"meta.json", "x"},
		"cannot unmarshal number int": {"meta.json", `{"Metadata":{"Description":1}}`},
	} {
		if _, _, err := Import(bytes.NewReader(archived(t, files...)), "one"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", files[len(files)-2], err, want)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add(archived(f, "meta.json", meta, "tls/docker/ca.pem", "ca"))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, tls, err := Import(bytes.NewReader(b), "one")
		for endpoint, files := range tls {
			for file := range files {
				if name := endpoint + "/" + file; err == nil && (strings.Count(name, "/") != 1 || strings.Contains("/"+name+"/", "/../") || strings.Contains(name, `\`)) {
					t.Errorf("%q would be written", name)
				}
			}
		}
	})
}
