package jsonlog

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 5, time.FixedZone("CET", 3600))

func TestAppendEntry(t *testing.T) {
	const at = `","stream":"stdout","time":"2026-01-02T11:00:00.000000005Z"}` + "\n"
	for _, tc := range []struct{ line, want string }{
		{"hello\n", `{"log":"hello\n` + at},
		{"", `{"log":"` + at},
		{"\"\\\r\t\x00\x1f\x7f", `{"log":"\"\\\r\u0009\u0000\u001f` + "\x7f" + at},
		{"<a&b>", `{"log":"\u003ca\u0026b\u003e` + at},
		{"grüße 世界 🚢\n", `{"log":"grüße 世界 🚢\n` + at},
		{"a\xffb\xc3", `{"log":"a\ufffdb\ufffd` + at},
		{"\ufffd\u2028\u2029", "{\"log\":\"\ufffd" + `\u2028\u2029` + at},
	} {
		if got := string(AppendEntry(nil, Stdout, []byte(tc.line), nil, noon)); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.line, got, tc.want)
		}
	}
	got := string(AppendEntry([]byte("x"), Stderr, []byte("l"), []byte(`{"a":"b"}`), noon))
	if want := `x{"log":"l","stream":"stderr","attrs":{"a":"b"},"time":"2026-01-02T11:00:00.000000005Z"}` + "\n"; got != want {
		t.Errorf("with attributes: %s, want %s", got, want)
	}
}

func TestNext(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, tc := range []struct {
		name, in string
		flush    bool
		want     int
	}{
		{"line", "a\nb\n", false, 2},
		{"start of a line", "abc", false, 0},
		{"end of all", "abc", true, 3},
		{"nothing", "", true, 0},
		{"longest line", long[1:] + "\n", false, MaxLine},
		{"one longer", long + "\n", false, MaxLine},
		{"too long", long + long, false, MaxLine},
		{"cut before a character", long[2:] + "世\n", false, MaxLine - 2},
		{"cut after a character", long[3:] + "世\n", false, MaxLine},
		{"cut in what is no character", long[1:] + "\xff\xff\n", false, MaxLine},
	} {
		if got := next([]byte(tc.in), tc.flush); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// FuzzEntry shows that an entry is JSON, as encoding/json writes it, and is read back.
func FuzzEntry(f *testing.F) {
	for _, s := range []string{"hello\n", "\x00\"\\\r\n", "\xff\xc3(", "<&>\u2028", "🚢"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		enc := AppendEntry(nil, Stderr, line, nil, noon)
		valid := string(bytes.ToValidUTF8(line, nil))
		var j struct{ Log, Stream, Time string }
		if err := json.Unmarshal(enc, &j); err != nil {
			t.Fatalf("%s: %v", enc, err)
		}
		if utf8.Valid(line) && j.Log != valid {
			t.Errorf("encoded %q as %q", line, j.Log)
		}
		var d decoder
		e, ok := d.fast(enc[:len(enc)-1])
		if !ok || string(e.Line) != j.Log || e.Stream != Stderr || !e.Time.Equal(noon) {
			t.Errorf("decoded %s as %q, %v", enc, e.Line, ok)
		}
	})
}

// FuzzDecode shows that what the quick decoder accepts, encoding/json reads alike.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"log":"a\u0041\n","stream":"stdout","time":"2026-01-02T11:00:00.000000005Z"}`))
	f.Add([]byte(`{"log":"\ud83d\udea2","stream":"stderr","attrs":{"a":"b"},"time":"2026-01-02T11:00:00Z"}`))
	f.Add([]byte(`{"log":"cut`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast decoder
		e, ok := fast.fast(b)
		if !ok {
			return
		}
		var j struct {
			Log    string    `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}
		if err := json.Unmarshal(b, &j); err != nil {
			t.Fatalf("%s: accepted: %v", b, err)
		}
		if j.Log != string(e.Line) || j.Stream != e.Stream || !j.Time.Equal(e.Time) {
			t.Errorf("%s: %q %s %v, want %q %s %v", b, e.Line, e.Stream, e.Time, j.Log, j.Stream, j.Time)
		}
	})
}

var text = bytes.Repeat([]byte("2026-01-02 03:04:05 INFO \"GET /index.html\" 200 12ms grüße\n"), 1000)

func BenchmarkEncode(b *testing.B) {
	w := &Writer{c: Config{MaxSize: -1}}
	b.SetBytes(int64(len(text)))
	var enc []byte
	for b.Loop() {
		enc, _ = w.Encode(enc[:0], Stdout, text, noon, false)
	}
}

func BenchmarkDecode(b *testing.B) {
	line := AppendEntry(nil, Stdout, []byte("2026-01-02 03:04:05 INFO \"GET /index.html\" 200 12ms grüße\n"), nil, noon)
	line = line[:len(line)-1]
	b.SetBytes(int64(len(line)))
	var d decoder
	for b.Loop() {
		if _, ok := d.decode(line); !ok {
			b.Fatal("not an entry")
		}
	}
}
