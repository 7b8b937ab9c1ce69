package applet

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// text are the programs that read and write lines.
func text() map[string]program {
	return map[string]program{
		"head": head, "tail": tail, "wc": wc, "sort": sortLines, "uniq": uniq,
		"grep": grep, "cut": cut, "tr": tr, "seq": seq, "tee": tee, "echo": echo,
		"yes": yes, "sha256sum": sha256sum, "printf": viaShell,
	}
}

func sorted(s []string) []string { slices.Sort(s); return slices.Compact(s) }

// count reads the -n of head and tail, also in its old form -5.
func count(args []string) (n int, rest []string, opt map[byte]string, err error) {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0][1] >= '0' && args[0][1] <= '9' {
		args = append([]string{"-n", args[0][1:]}, args[1:]...)
	}
	opt, rest, err = flags(args, "n:c:f")
	if err != nil {
		return 0, nil, nil, err
	}
	n = 10
	for _, k := range []byte("nc") {
		if v, ok := opt[k]; ok {
			if n, err = strconv.Atoi(v); err != nil {
				return 0, nil, nil, fmt.Errorf("%q is no number", v)
			}
		}
	}
	return n, rest, opt, nil
}

func head(c *call) error {
	n, names, opt, err := count(c.args)
	if err != nil {
		return err
	}
	return c.inputs(names, func(_ string, r io.Reader) error {
		if _, bytes := opt['c']; bytes {
			_, err := io.CopyN(c.out, r, int64(n))
			if err == io.EOF {
				err = nil
			}
			return err
		}
		left := n
		if left <= 0 {
			return nil
		}
		return lines(r, func(l string) bool {
			fmt.Fprintln(c.out, l)
			left--
			return left > 0
		})
	})
}

func tail(c *call) error {
	n, names, opt, err := count(c.args)
	if err != nil {
		return err
	}
	if n < 0 {
		n = -n
	}
	if _, ok := opt['f']; ok && len(names) == 1 {
		return follow(c, names[0], n)
	}
	return c.inputs(names, func(_ string, r io.Reader) error { return lastLines(c, r, n) })
}

func lastLines(c *call, r io.Reader, n int) error {
	var keep []string
	err := lines(r, func(l string) bool {
		if keep = append(keep, l); len(keep) > n {
			keep = keep[1:]
		}
		return true
	})
	for _, l := range keep {
		fmt.Fprintln(c.out, l)
	}
	return err
}

func wc(c *call) error {
	opt, names, err := flags(c.args, "lwc")
	if err != nil {
		return err
	}
	return c.inputs(names, func(name string, r io.Reader) error {
		var l, w, b int
		in := false
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			b += n
			for _, ch := range buf[:n] {
				if ch == '\n' {
					l++
				}
				space := unicode.IsSpace(rune(ch))
				if !space && !in {
					w++
				}
				in = !space
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		var f []string
		for _, x := range []struct {
			k byte
			n int
		}{{'l', l}, {'w', w}, {'c', b}} {
			if _, ok := opt[x.k]; ok || len(opt) == 0 {
				f = append(f, strconv.Itoa(x.n))
			}
		}
		if name != "-" {
			f = append(f, name)
		}
		fmt.Fprintln(c.out, strings.Join(f, " "))
		return nil
	})
}

func sortLines(c *call) error {
	opt, names, err := flags(c.args, "nru")
	if err != nil {
		return err
	}
	var all []string
	err = c.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(l string) bool { all = append(all, l); return true })
	})
	slices.SortStableFunc(all, func(a, b string) int {
		if _, ok := opt['n']; ok {
			if d := number(a) - number(b); d != 0 {
				return map[bool]int{true: 1, false: -1}[d > 0]
			}
		}
		return strings.Compare(a, b)
	})
	if _, ok := opt['u']; ok {
		all = slices.Compact(all)
	}
	if _, ok := opt['r']; ok {
		slices.Reverse(all)
	}
	for _, l := range all {
		fmt.Fprintln(c.out, l)
	}
	return err
}

// number is the number that a line begins with.
func number(s string) float64 {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && strings.IndexByte("+-.0123456789", s[end]) >= 0 {
		end++
	}
	f, _ := strconv.ParseFloat(s[:end], 64)
	return f
}

func uniq(c *call) error {
	opt, names, err := flags(c.args, "cd")
	if err != nil {
		return err
	}
	last, n := "", 0
	flush := func() {
		_, dup := opt['d']
		if n == 0 || dup && n < 2 {
			return
		}
		if _, ok := opt['c']; ok {
			fmt.Fprintf(c.out, "%7d ", n)
		}
		fmt.Fprintln(c.out, last)
	}
	err = c.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(l string) bool {
			if n == 0 || l != last {
				flush()
				last, n = l, 0
			}
			n++
			return true
		})
	})
	flush()
	return err
}

func seq(c *call) error {
	nums := []int{1, 1, 1}
	var err error
	parse := func(i int, s string) {
		if n, e := strconv.Atoi(s); e != nil {
			err = fmt.Errorf("%q is no number", s)
		} else {
			nums[i] = n
		}
	}
	switch a := c.args; len(a) {
	case 1:
		parse(2, a[0])
	case 2:
		parse(0, a[0])
		parse(2, a[1])
	case 3:
		parse(0, a[0])
		parse(1, a[1])
		parse(2, a[2])
	default:
		return fmt.Errorf("usage: seq [FIRST [STEP]] LAST")
	}
	if err != nil {
		return err
	}
	if nums[1] == 0 {
		return fmt.Errorf("the step cannot be 0")
	}
	for n := nums[0]; nums[1] > 0 && n <= nums[2] || nums[1] < 0 && n >= nums[2]; n += nums[1] {
		if _, err := fmt.Fprintln(c.out, n); err != nil {
			return err
		}
	}
	return nil
}

func tee(c *call) error {
	opt, names, err := flags(c.args, "a")
	if err != nil {
		return err
	}
	mode := os.O_TRUNC
	if _, ok := opt['a']; ok {
		mode = os.O_APPEND
	}
	to := []io.Writer{c.out}
	for _, n := range names {
		f, err := os.OpenFile(n, os.O_WRONLY|os.O_CREATE|mode, 0o666)
		if err != nil {
			return err
		}
		defer f.Close()
		to = append(to, f)
	}
	_, err = io.Copy(flushing{io.MultiWriter(to...), c}, c.in)
	return err
}

// flushing shows what was written at once: for programs that pass on what comes slowly.
type flushing struct {
	io.Writer
	c *call
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if ferr := f.c.out.Flush(); err == nil {
		err = ferr
	}
	return n, err
}

func echo(c *call) error {
	args, end := c.args, "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	_, err := c.out.WriteString(strings.Join(args, " ") + end)
	return err
}

func yes(c *call) error {
	s := "y"
	if len(c.args) > 0 {
		s = strings.Join(c.args, " ")
	}
	for {
		if _, err := fmt.Fprintln(c.out, s); err != nil {
			return err
		}
	}
}

func sha256sum(c *call) error {
	return c.inputs(c.args, func(name string, r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%x  %s\n", h.Sum(nil), name)
		return nil
	})
}
