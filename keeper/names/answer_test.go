package names

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// ask makes a query. size is what its EDNS record says; 0: it has none.
func ask(name string, t dnsmessage.Type, size int) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: t, Class: dnsmessage.ClassINET}}}
	if size > 0 {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(size, 0, false)
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// read puts an answer into words: rcode, then flags other than those of every answer,
// then the answers, sorted.
func read(t testing.TB, msg []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("%x: %v", msg, err)
	}
	if !m.Response || !m.RecursionAvailable || m.ID != 77 {
		t.Errorf("header %+v", m.Header)
	}
	words := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Truncated {
		words = append(words, "truncated")
	}
	var answers []string
	for _, a := range m.Answers {
		if len(m.Questions) != 1 || a.Header.Name != m.Questions[0].Name {
			t.Errorf("an answer about %s", a.Header.Name)
		}
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			answers = append(answers, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			answers = append(answers, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			answers = append(answers, b.PTR.String())
		}
	}
	slices.Sort(answers)
	return strings.Join(append(words, answers...), " ")
}

func addrs(as ...string) (out []netip.Addr) {
	for _, a := range as {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// town is a few containers on two networks, and what one of them sees.
func town() (*Tables, *View) {
	t := new(Tables)
	t.Set("n1", false, []Entry{
		{"c1", []string{"web", "shop", "C1"}, addrs("172.20.0.2", "fd00::2")},
		{"c2", []string{"DB", "shop"}, addrs("172.20.0.3")},
		{"c3", []string{"six", "shop"}, addrs("fd00::4")},
		{"c4", []string{"dotted.name", "both"}, addrs("172.20.0.5")},
	}, nil)
	t.Set("n2", false, []Entry{
		{"c5", []string{"web", "only", "both"}, addrs("172.21.0.2", "fd01::2")},
		{"c6", []string{"six"}, addrs("172.21.0.6")},
	}, nil)
	t.Set("n3", false, []Entry{{"c7", []string{"stranger"}, addrs("172.22.0.2")}}, nil)
	v := View{Networks: []string{"n1", "n2", "n0"}, Zones: map[string]string{"n1": "Front", "n2": "back"},
		Links: map[string]string{"Database": "db", "web2": "gone"},
		Hosts: map[string][]netip.Addr{"host.docker.internal": addrs("172.20.0.1"), "web": addrs("1.1.1.1"), "web2": addrs("2.2.2.2")}}
	return t, v.canonical()
}

const (
	typeA, typeAAAA, typePTR, typeTXT, typeMX, typeANY = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeTXT, dnsmessage.TypeMX, dnsmessage.TypeALL
	typeHTTPS                                          = dnsmessage.Type(65)
)

// TestAnswer has the questions of one container, and their answers; "": another is asked.
func TestAnswer(t *testing.T) {
	tables, view := town()
	v6 := func(s string) string { return strings.Join(strings.Split(s, ""), ".") + ".ip6.arpa." }
	for _, c := range []struct {
		name string
		typ  dnsmessage.Type
		want string
	}{
		{"web.", typeA, "Success 172.20.0.2"}, // of the first network
		{"web.", typeAAAA, "Success fd00::2"},
		{"WEB.", typeA, "Success 172.20.0.2"},
		{"c1.", typeA, "Success 172.20.0.2"},
		{"db.", typeA, "Success 172.20.0.3"},
		{"db.", typeAAAA, "Success"}, // it is there, without such an address
		{"only.", typeA, "Success 172.21.0.2"},
		{"six.", typeA, "Success 172.21.0.6"}, // the first network has it without
		{"six.", typeAAAA, "Success fd00::4"},
		{"shop.", typeA, "Success 172.20.0.2 172.20.0.3"},
		{"shop.", typeAAAA, "Success fd00::2 fd00::4"},
		{"shop.", typeANY, "Success 172.20.0.2 172.20.0.3 fd00::2 fd00::4"},
		{"web.front.", typeA, "Success 172.20.0.2"},
		{"Web.Back.", typeA, "Success 172.21.0.2"},
		{"dotted.name.", typeA, "Success 172.20.0.5"},
		{"dotted.name.front.", typeA, "Success 172.20.0.5"},
		{".", typeA, ""},
		{"front.", typeA, ""},
		{"web.fron.", typeA, ""},
		{"web.front.back.", typeA, ""},
		{"stranger.", typeA, ""}, // of a network that it is not on
		{"database.", typeA, "Success 172.20.0.3"},
		{"web2.", typeA, "Success 2.2.2.2"}, // the link leads nowhere
		{"Database.Front.", typeA, "Success 172.20.0.3"},
		{"database.front.", typeAAAA, "Success"},
		{"database.back.", typeA, ""}, // it leads to nobody there
		{"web2.front.", typeA, ""},
		{"host.docker.internal.", typeA, "Success 172.20.0.1"},
		{"host.docker.internal.", typeAAAA, "Success"},
		{"web.", typeTXT, "Success"},
		{"web.", typeMX, "Success"},
		{"web.", typeHTTPS, "Success"},
		{"example.com.", typeA, ""},
		{"2.0.20.172.in-addr.arpa.", typePTR, "Success web.front."},
		{"2.0.21.172.in-addr.arpa.", typePTR, "Success web.back."},
		{"2.0.22.172.in-addr.arpa.", typePTR, ""},
		{"20.172.in-addr.arpa.", typePTR, ""},
		{"02.0.20.172.in-addr.arpa.", typePTR, ""},
		{v6("20000000000000000000000000000df"), typePTR, ""}, // a digit too few
		{v6("200000000000000000000000000000df"), typePTR, "Success web.front."},
		{v6("200000000000000000000000000000DF"), typePTR, "Success web.front."},
		{v6("g00000000000000000000000000000df"), typePTR, ""},
		{"web.", typePTR, "Success"},
		{"example.com.", dnsmessage.TypeAXFR, "NotImplemented"},
		{"web.", typeIXFR, "NotImplemented"},
	} {
		t.Run(fmt.Sprint(c.name, c.typ), func(t *testing.T) {
			got, forward := view.Answer(tables, nil, ask(c.name, c.typ, 0), minUDP)
			if forward != (c.want == "") || forward != (got == nil) {
				t.Fatalf("forward %v, %d bytes", forward, len(got))
			}
			if !forward {
				if got := read(t, got); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

// TestUnknownForms answers what is no question, and is silent to what is no query.
func TestUnknownForms(t *testing.T) {
	tables, view := town()
	change := func(f func(b []byte) []byte) []byte { return f(ask("web.", typeA, 1232)) }
	for name, c := range map[string]struct {
		msg  []byte
		want string
	}{
		"empty":         {nil, ""},
		"short":         {make([]byte, 11), ""},
		"answer":        {change(func(b []byte) []byte { b[2] |= 0x80; return b }), ""},
		"notify":        {change(func(b []byte) []byte { b[2] |= 4 << 3; return b }), "NotImplemented"},
		"no question":   {change(func(b []byte) []byte { b[5] = 0; return b[:12] }), "FormatError"},
		"two questions": {change(func(b []byte) []byte { b[5] = 2; return b }), "FormatError"},
		"cut off":       {change(func(b []byte) []byte { return b[:17] }), "FormatError"},
		"no EDNS":       {change(func(b []byte) []byte { return b[:len(b)-3] }), "FormatError"},
		"only a header": {change(func(b []byte) []byte { return b[:12] }), "FormatError"},
		"name in a loop": {change(func(b []byte) []byte {
			return append(b[:12], 0xc0, 12, 0, 1, 0, 1)
		}), "FormatError"},
		"a dot in a label":                           {odd("web.front", "example"), "forward"},
		"a dot in a label, and more than a name has": {odd(".a", strings.Repeat("b", 63), strings.Repeat("c", 63), strings.Repeat("d", 63), strings.Repeat("e", 60)), "FormatError"},
		"other class":                                {change(func(b []byte) []byte { b[20] = 3; return b }), "forward"},
	} {
		t.Run(name, func(t *testing.T) {
			got, forward := view.Answer(tables, nil, c.msg, minUDP)
			switch {
			case forward != (c.want == "forward"):
				t.Errorf("forward %v", forward)
			case c.want == "" && got != nil:
				t.Errorf("%x", got)
			case c.want != "" && !forward:
				if got := read(t, got); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

// odd is a question for an address, of a name with these labels.
func odd(labels ...string) []byte {
	var name []byte
	for _, l := range labels {
		name = append(append(name, byte(len(l))), l...)
	}
	msg := ask(".", typeA, 1232)
	return slices.Concat(msg[:12], name, msg[12:])
}

// TestOddNameFails has the question in the answer that nobody knows its name, as clients
// expect, who would wait on otherwise.
func TestOddNameFails(t *testing.T) {
	msg := odd("Dr. Who's printer", "_ipp", "_tcp", "local")
	got := Fail([]byte("before"), msg, dnsmessage.RCodeServerFailure)
	got, ok := bytes.CutPrefix(got, []byte("before"))
	if !ok || len(got) < 12 || !bytes.Equal(got[:2], msg[:2]) || got[2]&0x80 == 0 || dnsmessage.RCode(got[3]&0xf) != dnsmessage.RCodeServerFailure {
		t.Fatalf("%x", got)
	}
	if end := questionEnd(msg); !bytes.Equal(got[4:6], msg[4:6]) || !bytes.Equal(got[12:end], msg[12:end]) {
		t.Errorf("the question in %x is not that of %x", got, msg)
	}
	var p dnsmessage.Parser
	if _, err := p.Start(got); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.SkipAllQuestions(), p.SkipAllAnswers(), p.SkipAllAuthorities(), p.SkipAllAdditionals()); err != nil {
		t.Errorf("%x: %v", got, err)
	}
}

// TestTruncated gives a client as much as it says that it takes, in whole records.
func TestTruncated(t *testing.T) {
	tables := new(Tables)
	for i := range 500 {
		tables.Set("n", false, []Entry{{fmt.Sprint("c", i), []string{"many"}, []netip.Addr{
			netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0xfd, 15: byte(i), 14: byte(i >> 8)})}}}, nil)
	}
	view := View{Networks: []string{"n"}}.canonical()
	for _, c := range []struct {
		edns, limit, want int
		typ               dnsmessage.Type
	}{
		{0, minUDP, (512 - 12 - 10) / 16, typeA},
		{100, minUDP, (512 - 12 - 10 - 11) / 16, typeA},
		{1232, minUDP, (1232 - 12 - 10 - 11) / 16, typeA},
		{1232, minUDP, (1232 - 12 - 10 - 11) / 28, typeAAAA},
		{16000, minUDP, 500, typeA},
		{0, maxTCP, 500, typeA},
		{1232, maxTCP, 500, typeAAAA},
	} {
		got, _ := view.Answer(tables, nil, ask("many.", c.typ, c.edns), c.limit)
		var m dnsmessage.Message
		if err := m.Unpack(got); err != nil {
			t.Fatal(err)
		}
		if len(m.Answers) != c.want || m.Truncated != (c.want < 500) || len(got) > max(c.limit, c.edns) || (len(m.Additionals) == 1) != (c.edns > 0) {
			t.Errorf("%+v: %d answers in %d bytes, truncated %v, %d additional", c, len(m.Answers), len(got), m.Truncated, len(m.Additionals))
		}
	}
}

// TestRoundRobin gives each container of a name the first place as often, also to a
// client that asks for both families in turn.
func TestRoundRobin(t *testing.T) {
	tables := new(Tables)
	for i := range 4 {
		tables.Set("n", false, []Entry{{fmt.Sprint("c", i), []string{"web"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}}}, nil)
	}
	view := View{Networks: []string{"n"}}.canonical()
	first := map[byte]int{}
	for range 4000 {
		view.Answer(tables, nil, ask("web.", typeAAAA, 0), minUDP)
		got, _ := view.Answer(tables, nil, ask("web.", typeA, 0), minUDP)
		var m dnsmessage.Message
		if err := m.Unpack(got); err != nil || len(m.Answers) != 4 {
			t.Fatal(err, len(m.Answers))
		}
		first[m.Answers[0].Body.(*dnsmessage.AResource).A[3]]++
	}
	for i := range byte(4) {
		if n := first[i]; n < 800 || n > 1200 { // 7 standard deviations
			t.Errorf("container %d comes first %d of 4000 times", i, n)
		}
	}
}

// TestTables changes names, and sees that nothing is left of those that go.
func TestTables(t *testing.T) {
	tables, view := town()
	has := func(name string, want string) {
		t.Helper()
		got, forward := view.Answer(tables, nil, ask(name, typeA, 0), minUDP)
		if forward {
			got = Fail(nil, ask(name, typeA, 0), dnsmessage.RCodeNameError)
		}
		if got := read(t, got); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	tables.Set("n1", false, []Entry{{"c2", []string{"db2", "db2"}, addrs("::ffff:172.20.0.33")}}, []string{"c1", "nobody"})
	has("db.", "NameError")
	has("db2.", "Success 172.20.0.33")
	has("shop.", "Success")
	has("web.", "Success 172.21.0.2")
	tables.Set("n1", true, []Entry{{"c9", []string{"new"}, addrs("172.20.0.9")}}, nil)
	has("db2.", "NameError")
	has("new.", "Success 172.20.0.9")
	tables.Set("n1", false, nil, []string{"c9"})
	tables.Drop("n2")
	tables.Drop("n0")
	has("only.", "NameError")
	tables.Set("n3", true, nil, nil)
	if all := tables.All(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
}

// FuzzAnswer has arbitrary messages answered: by something that can be read and is not
// longer than allowed, or not at all.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.", "shop.", "2.0.20.172.in-addr.arpa.", "example.com.", "."} {
		f.Add(ask(name, typeA, 0))
		f.Add(ask(name, typeANY, 600))
		f.Add(ask(name, typePTR, 0))
	}
	f.Add(odd("Dr. Who's printer", "_ipp", "_tcp", "local"))
	tables, view := town()
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, forward := view.Answer(tables, nil, msg, minUDP)
		if forward && (got != nil || len(msg) < 17) {
			t.Errorf("%x: forward and %x", msg, got)
		}
		if got == nil {
			return
		}
		q, _, _ := parse(msg, minUDP)
		var m dnsmessage.Message
		if err := m.Unpack(got); err != nil && q.odd == nil || !m.Response || got[0] != msg[0] || got[1] != msg[1] {
			t.Errorf("%x: %x: %v", msg, got, err)
		}
		if len(got) > q.limit {
			t.Errorf("%x: %d bytes, %d allowed", msg, len(got), q.limit)
		}
	})
}

// FuzzAnswers compares arbitrary messages with a question: only what has its number and
// repeats it, or refuses it, is an answer.
func FuzzAnswers(f *testing.F) {
	asked := ask("Example.com.", typeA, 1232)
	f.Add(Fail(nil, asked, dnsmessage.RCodeNameError))
	f.Add(Fail(nil, asked[:12], dnsmessage.RCodeFormatError))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if !answers(msg, asked) {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(msg)
		if err != nil || !h.Response || h.ID != 77 {
			t.Fatalf("%x", msg)
		}
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone && h.RCode != 0 && h.RCode != dnsmessage.RCodeNameError {
			return
		}
		if err != nil || !strings.EqualFold(q.Name.String(), "example.com.") || q.Type != typeA {
			t.Errorf("%x: %v", msg, err)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	tables, view := town()
	msg := ask("web.", typeA, 1232)
	var buf [maxQuery]byte
	b.ReportAllocs()
	for b.Loop() {
		view.Answer(tables, buf[:0], msg, minUDP)
	}
}
