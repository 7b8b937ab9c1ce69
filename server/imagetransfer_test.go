package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"

	"hoy/lib/fault"
)

// TestImageTransfer reads what a pull or a push is asked for. What is wrong before the
// first line is an ordinary error, later the last line.
func TestImageTransfer(t *testing.T) {
	var asked string
	b := &backend{transfer: func(what string, named reference.Named, o ImageTransferOptions, say Progress) error {
		asked = fmt.Sprint(what, " ", named, " ", o.Auth.Username)
		if got := o.Meta.Get("X-Meta-Team"); got != "core" || len(o.Meta) != 1 {
			t.Errorf("headers for the registry: %v", o.Meta)
		}
		if o.Platform != nil {
			asked += " " + o.Platform.OS + "/" + o.Platform.Architecture + "/" + o.Platform.Variant
		}
		if strings.Contains(named.Name(), "begun") {
			say(jsonstream.Message{Status: "Waiting"})
		}
		if strings.Contains(named.Name(), "bad") {
			return fault.New(fault.NotFound, "not there")
		}
		return nil
	}}
	socket, _ := serve(t, b)
	zeros := strings.Repeat("0", 64)
	ann := base64.URLEncoding.EncodeToString([]byte(`{"username":"ann","password":"~~~~~~???"}`))
	for _, tc := range []struct {
		path, auth string
		asked      string // without the default domain
		status     int
		body       string
	}{
		{"/images/create?fromImage=a&tag=b", ann, "pull library/a:b ann", 200, ""},
		{"/images/create?fromImage=a:c", "", "pull library/a:c ", 200, ""},
		{"/images/create?fromImage=a", "", "pull library/a ", 200, ""},
		{"/images/create?fromImage=a:", "", "pull library/a ", 200, ""},
		{"/images/create?fromImage=x/a:c&tag=sha256:" + zeros, "", "pull x/a@sha256:" + zeros + " ", 200, ""},
		{"/images/create?fromImage=a&tag=b&platform=linux/arm/v7", "", "pull library/a:b  linux/arm/v7", 200, ""},
		{"/images/create?fromImage=a&tag=b&platform=x", "", "", 400, "invalid platform"},
		{"/images/create?fromImage=A", "", "", 400, "must be lowercase"},
		{"/images/create?fromImage=scratch", "", "", 403, "reserved name"},
		{"/images/create?fromImage=a&tag=b", "{}", "", 400, "X-Registry-Auth"},
		{"/images/create?fromImage=bad", "", "pull library/bad ", 404, `{"message":"not there"}`},
		{"/images/create?fromImage=begun/bad", "", "pull begun/bad ", 200, `{"errorDetail":{"code":404,"message":"not there"},"error":"not there"}`},
		{"/images/x/a/push?tag=b", ann, "push x/a:b ann", 200, ""},
		{"/images/x/a/push", ann, "push x/a ann", 200, ""},
		{"/images/x/a/push?tag=b&platform=%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D", "", "push x/a:b  linux/arm64/", 200, ""},
		{"/images/x/a/push?tag=b", "{}", "", 400, "X-Registry-Auth"},
	} {
		asked = ""
		resp, body := call(t, socket, http.MethodPost, tc.path, nil, "X-Registry-Auth", tc.auth, "X-Meta-Team", "core")
		_, short, found := strings.Cut(asked, "/")
		if what, _, ok := strings.Cut(asked, " "); ok && found {
			short = what + " " + short
		}
		if resp.StatusCode != tc.status || short != tc.asked || !strings.Contains(body, tc.body) {
			t.Errorf("%s: %s %q, asked for %q", tc.path, resp.Status, body, short)
		}
	}
}

func TestJoinTag(t *testing.T) {
	for _, tc := range []struct{ name, tag, want string }{
		{"a", "", "a"},
		{"a", "b", "a:b"},
		{"a:b", "c", "a:c"},
		{"host:5000/a", "c", "host:5000/a:c"},
		{"host:5000/a:b", "c", "host:5000/a:c"},
		{"a", "sha256:00", "a@sha256:00"},
		{"", "b", ""},
		{"A:b", "c", "A:b:c"}, // no name, as whoever reads it says
	} {
		if got := joinTag(tc.name, tc.tag); got != tc.want {
			t.Errorf("%q and %q: %q, want %q", tc.name, tc.tag, got, tc.want)
		}
	}
}
