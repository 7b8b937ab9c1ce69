package applet

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func grep(c *call) error {
	opt, rest, err := flags(c.args, "ivncqlEFHhose:")
	if err != nil {
		return err
	}
	has := func(k byte) bool { _, ok := opt[k]; return ok }
	pattern, ok := opt['e']
	if !ok {
		if len(rest) == 0 {
			return fmt.Errorf("usage: grep [-EFchilnqv] PATTERN [FILE...]")
		}
		pattern, rest = rest[0], rest[1:]
	}
	if has('F') {
		pattern = regexp.QuoteMeta(pattern)
	}
	if has('i') {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	any := false
	err = c.inputs(rest, func(name string, r io.Reader) error {
		n, hits := 0, 0
		prefix := ""
		if (len(rest) > 1 || has('H')) && !has('h') {
			prefix = name + ":"
		}
		err := lines(r, func(l string) bool {
			n++
			if re.MatchString(l) == has('v') {
				return true
			}
			hits++
			any = true
			switch {
			case has('q'), has('l'):
				return false
			case has('c'):
			case has('o'):
				for _, m := range re.FindAllString(l, -1) {
					fmt.Fprintf(c.out, "%s%s\n", prefix, m)
				}
			case has('n'):
				fmt.Fprintf(c.out, "%s%d:%s\n", prefix, n, l)
			default:
				fmt.Fprintf(c.out, "%s%s\n", prefix, l)
			}
			return true
		})
		if has('c') {
			fmt.Fprintf(c.out, "%s%d\n", prefix, hits)
		}
		if has('l') && hits > 0 {
			fmt.Fprintln(c.out, name)
		}
		return err
	})
	if err == nil && !any {
		return exit(1)
	}
	return err
}

func cut(c *call) error {
	opt, names, err := flags(c.args, "d:f:c:")
	if err != nil {
		return err
	}
	spec, sep := opt['f'], "\t"
	if d, ok := opt['d']; ok {
		sep = d
	}
	chars := false
	if spec == "" {
		spec, chars = opt['c'], true
	}
	want, err := ranges(spec)
	if err != nil {
		return err
	}
	return c.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(l string) bool {
			parts, join := strings.Split(l, sep), sep
			if chars {
				parts, join = strings.Split(l, ""), ""
			}
			var out []string
			for i, p := range parts {
				if want(i+1) || len(parts) == 1 && !chars {
					out = append(out, p)
				}
			}
			fmt.Fprintln(c.out, strings.Join(out, join))
			return true
		})
	})
}

// ranges reads "1,3-5,7-".
func ranges(spec string) (func(int) bool, error) {
	type span struct{ lo, hi int }
	var spans []span
	for _, s := range strings.Split(spec, ",") {
		lo, hi, isRange := strings.Cut(s, "-")
		sp := span{1, 1 << 30}
		var err1, err2 error
		if lo != "" {
			sp.lo, err1 = strconv.Atoi(lo)
		}
		if !isRange {
			sp.hi = sp.lo
		} else if hi != "" {
			sp.hi, err2 = strconv.Atoi(hi)
		}
		if s == "" || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no list of fields", spec)
		}
		spans = append(spans, sp)
	}
	return func(n int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return n >= s.lo && n <= s.hi })
	}, nil
}

func tr(c *call) error {
	opt, rest, err := flags(c.args, "ds")
	if err != nil {
		return err
	}
	_, del := opt['d']
	_, squeeze := opt['s']
	if len(rest) == 0 || !del && !squeeze && len(rest) < 2 {
		return fmt.Errorf("usage: tr [-ds] SET1 [SET2]")
	}
	from := set(rest[0])
	var to []rune
	if len(rest) > 1 {
		to = set(rest[1])
	}
	b, err := io.ReadAll(c.in)
	if err != nil {
		return err
	}
	last := rune(-1)
	for _, ch := range string(b) {
		i := slices.Index(from, ch)
		switch {
		case i >= 0 && del:
			continue
		case i >= 0 && len(to) > 0:
			ch = to[min(i, len(to)-1)]
		}
		if squeeze && i >= 0 && ch == last {
			continue
		}
		last = ch
		c.out.WriteRune(ch)
	}
	return nil
}

// set expands "a-z", \n and \t, and [:upper:] and its like.
func set(s string) []rune {
	for class, chars := range map[string]string{"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9", "[:space:]": " \t\n\r\v\f"} {
		s = strings.ReplaceAll(s, class, chars)
	}
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\\`, `\`, `\0`, "\x00").Replace(s)
	r := []rune(s)
	var out []rune
	for i := 0; i < len(r); i++ {
		if i+2 < len(r) && r[i+1] == '-' && r[i] <= r[i+2] {
			for ch := r[i]; ch <= r[i+2]; ch++ {
				out = append(out, ch)
			}
			i += 2
			continue
		}
		out = append(out, r[i])
	}
	return out
}
