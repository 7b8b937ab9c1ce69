package format

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesThatThereAreNot(t *testing.T) {
	type end struct {
		Gateway, Address netip.Addr
		Subnet           netip.Prefix
	}
	o := Object{Typed: map[string]any{"Ends": []end{{Address: netip.MustParseAddr("10.0.0.2")}}, "None": (*end)(nil)}}
	for text, want := range map[string]string{
		`{{range .Ends}}{{.Gateway}}|{{.Address}}|{{.Subnet}}{{end}}`:                "|10.0.0.2|",
		`{{range .Ends}}{{if .Gateway}}a{{else}}b{{end}}{{end}}`:                     "b",
		`{{range .Ends}}{{with $a := .Address}}{{$a}}{{end}}{{end}}`:                 "10.0.0.2",
		`{{range .Ends}}{{with .Gateway}}a{{else}}b{{end}}{{end}}`:                   "b",
		`{{range .Ends}}{{json .}}{{end}}`:                                           `{"Gateway":"","Address":"10.0.0.2","Subnet":""}`,
		`{{.None}} {{.Missing}} {{len .Ends}}`:                                       "<nil> <no value> 1",
		`{{define "x"}}{{.Gateway}}.{{end}}{{range .Ends}}{{template "x" .}}{{end}}`: ".",
	} {
		var b strings.Builder
		if err := Inspect(&b, text, []Object{o}, false); err != nil || b.String() != want+"\n" {
			t.Errorf("%s: %q, %v; want %q", text, b.String(), err, want)
		}
	}
}
