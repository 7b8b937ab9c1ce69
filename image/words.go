package image

import (
	"strings"

	"hoy/lib/fault"
)

type pair struct{ key, value string }

// pairs reads what ENV and LABEL take: k=v k2="v 2", or the old form "k the rest".
func pairs(s string, lookup func(string) string) ([]pair, error) {
	raw, err := split(s)
	if err != nil {
		return nil, err
	}
	if len(raw) > 0 && !strings.Contains(raw[0], "=") {
		key, rest := cutSpace(s)
		if rest == "" {
			return nil, fault.New(fault.Invalid, "must have two arguments")
		}
		v, err := expand(rest, lookup)
		return []pair{{key, v}}, err
	}
	var ps []pair
	for _, w := range raw {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fault.New(fault.Invalid, "can't find = in %q. Must be of the form: name=value", w)
		}
		if k, err = expand(k, lookup); err != nil {
			return nil, err
		}
		if v, err = expand(v, lookup); err != nil {
			return nil, err
		}
		ps = append(ps, pair{k, v})
	}
	return ps, nil
}

// words splits at spaces outside of quotes, and expands each word.
func words(s string, lookup func(string) string) ([]string, error) {
	raw, err := split(s)
	if err != nil {
		return nil, err
	}
	for i := range raw {
		if raw[i], err = expand(raw[i], lookup); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// split cuts s at spaces outside of quotes; the words keep their quotes.
func split(s string) ([]string, error) {
	var out []string
	var b strings.Builder
	var quote byte
	in := false
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case quote == 0 && strings.IndexByte(" \t\r\n", ch) >= 0:
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
			continue
		case ch == '\\' && quote != '\'' && i+1 < len(s):
			b.WriteByte(ch)
			i++
			ch = s[i]
		case quote == 0 && (ch == '"' || ch == '\''):
			quote = ch
		case ch == quote:
			quote = 0
		}
		in = true
		b.WriteByte(ch)
	}
	if quote != 0 {
		return nil, fault.New(fault.Invalid, "unexpected end of statement while looking for matching %s-quote", name(quote))
	}
	if in {
		out = append(out, b.String())
	}
	return out, nil
}

func name(quote byte) string {
	if quote == '"' {
		return "double"
	}
	return "single"
}

// expand removes quotes and backslashes and replaces $name and ${name}, ${name:-x}
// and ${name:+x}; in single quotes everything stands for itself.
func expand(s string, lookup func(string) string) (string, error) {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case quote == '\'' && ch != '\'':
			b.WriteByte(ch)
		case ch == '\\' && i+1 < len(s):
			i++
			if quote == '"' && strings.IndexByte("\"$\\", s[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		case ch == quote:
			quote = 0
		case quote == 0 && (ch == '"' || ch == '\''):
			quote = ch
		case ch == '$':
			v, n, err := variable(s[i+1:], lookup)
			if err != nil {
				return "", err
			}
			b.WriteString(v)
			i += n
		default:
			b.WriteByte(ch)
		}
	}
	return b.String(), nil
}

// variable reads what follows a $ and returns its value and length.
func variable(s string, lookup func(string) string) (value string, n int, err error) {
	if strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", 0, fault.New(fault.Invalid, "missing } in %q", "$"+s)
		}
		body := s[1:end]
		if k, v, ok := strings.Cut(body, ":-"); ok {
			if set := lookup(k); set != "" {
				v = set
			}
			return v, end + 1, nil
		}
		if k, v, ok := strings.Cut(body, ":+"); ok {
			if lookup(k) == "" {
				v = ""
			}
			return v, end + 1, nil
		}
		if len(body) != identifier(body) || body == "" {
			return "", 0, fault.New(fault.Invalid, "unsupported modifier in %q", "${"+body+"}")
		}
		return lookup(body), end + 1, nil
	}
	if n = identifier(s); n == 0 {
		return "$", 0, nil
	}
	return lookup(s[:n]), n, nil
}

// identifier is the length of the variable name that s begins with.
func identifier(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if s[i] != '_' && !(c >= 'a' && c <= 'z') && !(i > 0 && s[i] >= '0' && s[i] <= '9') {
			return i
		}
	}
	return len(s)
}
