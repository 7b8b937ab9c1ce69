package builtin

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string // "": it is let
	}{
		{Options{Listen: "127.0.0.1:5000"}, ""}, {Options{Listen: "[::1]:0"}, ""}, {Options{Listen: "localhost:5000"}, ""}, {Options{Listen: "127.9.9.9:5000"}, ""},
		{Options{Listen: "0.0.0.0:5000", Cert: "c", Key: "k"}, ""}, {Options{Listen: ":5000", Insecure: true}, ""}, {Options{Listen: ":5000", Htpasswd: "/dev/null"}, ""},
		{Options{Listen: "0.0.0.0:5000"}, "refusing to listen on 0.0.0.0:5000"}, {Options{Listen: ":5000"}, "refusing"}, {Options{Listen: "[::]:5000"}, "refusing"},
		{Options{Listen: "example.com:5000"}, "refusing"}, {Options{Listen: "192.0.2.1:5000"}, "refusing"},
		{Options{Listen: "5000"}, "want host:port"}, {Options{Listen: ""}, "want host:port"},
		{Options{Listen: "127.0.0.1:0", Cert: "c"}, "need each other"}, {Options{Listen: "127.0.0.1:0", ReadOnly: true, Delete: true}, "conflicting"},
		{Options{Listen: "127.0.0.1:0", Htpasswd: "/nowhere/htpasswd"}, "cannot read --htpasswd"},
	} {
		err := c.o.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func TestFolder(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/x")
	for data, want := range map[string]string{"/d": "/d", "/d/../e": "/e"} {
		if got, err := (&Options{Data: data}).Folder(); err != nil || got != want {
			t.Errorf("%q: %q, %v", data, got, err)
		}
	}
	if got, err := new(Options).Folder(); err != nil || got != "/x/hoy-registry" && got != "/var/lib/hoy-registry" {
		t.Errorf("%q, %v", got, err)
	}
}
