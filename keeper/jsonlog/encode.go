package jsonlog

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// AppendEntry appends the entry of one line, ending in "\n", to dst. attrs is a
// JSON object, or empty. What is not UTF-8 in line becomes U+FFFD, as with Docker.
func AppendEntry(dst []byte, stream string, line, attrs []byte, at time.Time) []byte {
	dst = append(dst, `{"log":"`...)
	dst = appendEscaped(dst, line)
	dst = append(dst, `","stream":"`...)
	dst = append(dst, stream...)
	if len(attrs) > 0 {
		dst = append(dst, `","attrs":`...)
		dst = append(dst, attrs...)
		dst = append(dst, `,"time":"`...)
	} else {
		dst = append(dst, `","time":"`...)
	}
	dst = at.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, "\"}\n"...)
}

const hex = "0123456789abcdef"

// plain tells of each byte whether it stands for itself in a JSON string as Docker
// writes it: ASCII without controls, quotes, backslash and what HTML dislikes.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

func appendEscaped(dst, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError && r != '\u2028' && r != '\u2029' || r == utf8.RuneError && size > 1 {
				i += size
				continue
			}
			dst = append(dst, s[start:i]...)
			if r == utf8.RuneError {
				dst = append(dst, `\ufffd`...)
			} else {
				dst = append(dst, `\u202`...)
				dst = append(dst, hex[r&15])
			}
			i += size
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}

// next returns the length of the first entry's worth of b: a line with its "\n", or
// MaxLine bytes, or with flush whatever there is. 0: there is no whole one yet.
func next(b []byte, flush bool) int {
	if n := bytes.IndexByte(b[:min(len(b), MaxLine)], '\n'); n >= 0 {
		return n + 1
	}
	if len(b) >= MaxLine {
		return wholeRunes(b[:MaxLine])
	}
	if flush {
		return len(b)
	}
	return 0
}

// wholeRunes returns the length of b without a character that its end cuts in two.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i < len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
}
