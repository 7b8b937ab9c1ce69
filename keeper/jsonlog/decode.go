package jsonlog

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// decoder reads entries. It keeps buffers between them.
type decoder struct{ line, stream []byte }

// decode reads one entry, without its newline. false: b is none, as the rest of one
// that was cut short.
func (d *decoder) decode(b []byte) (Entry, bool) {
	if e, ok := d.fast(b); ok {
		return e, true
	}
	var j struct {
		Log    string            `json:"log"`
		Stream string            `json:"stream"`
		Attrs  map[string]string `json:"attrs"`
		Time   time.Time         `json:"time"`
	}
	if json.Unmarshal(b, &j) != nil || j.Time.IsZero() {
		return Entry{}, false
	}
	return Entry{Stream: j.Stream, Line: []byte(j.Log), Time: j.Time, Attrs: j.Attrs}, true
}

// fast reads what AppendEntry and Docker write when there are no attributes.
func (d *decoder) fast(b []byte) (e Entry, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"log":"`))
	if !ok {
		return e, false
	}
	if d.line, rest, ok = unescape(d.line[:0], rest); !ok {
		return e, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"stream":"`)); !ok {
		return e, false
	}
	if d.stream, rest, ok = unescape(d.stream[:0], rest); !ok {
		return e, false
	}
	switch string(d.stream) {
	case Stdout:
		e.Stream = Stdout
	case Stderr:
		e.Stream = Stderr
	default:
		return e, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"time":"`)); !ok {
		return e, false
	}
	if rest, ok = bytes.CutSuffix(rest, []byte(`"}`)); !ok {
		return e, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(rest))
	if err != nil {
		return e, false
	}
	e.Line, e.Time = d.line, t
	return e, true
}

// unescape appends the JSON string at the head of b, whose opening quote is gone, to
// dst. rest is what follows the closing quote.
func unescape(dst, b []byte) (s, rest []byte, ok bool) {
	for {
		i := bytes.IndexAny(b, `"\`)
		if i < 0 || i+1 >= len(b) && b[i] == '\\' || !utf8.Valid(b[:i]) || hasControl(b[:i]) {
			return dst, nil, false
		}
		dst = append(dst, b[:i]...)
		if b[i] == '"' {
			return dst, b[i+1:], true
		}
		c := b[i+1]
		b = b[i+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'u':
			r := hex4(b)
			if r < 0 || utf16.IsSurrogate(r) { // of surrogates, encoding/json knows all
				return dst, nil, false
			}
			dst = utf8.AppendRune(dst, r)
			b = b[4:]
		default:
			return dst, nil, false
		}
	}
}

func hasControl(b []byte) bool {
	for _, c := range b {
		if c < 0x20 {
			return true
		}
	}
	return false
}

// hex4 is the value of the four digits at the head of b, -1 if they are none.
func hex4(b []byte) (r rune) {
	if len(b) < 4 {
		return -1
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
