package options

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// check judges one value of a flag and may rewrite it.
type check func(string) (string, error)

// list is a flag that may be given several times.
type list struct {
	v     []string
	kind  string
	check check
}

// of gives a list its check and the kind of value that the help shows.
func (l *list) of(kind string, c check) *list {
	l.kind, l.check = kind, c
	return l
}

func (l *list) String() string { return strings.Join(l.v, ",") }
func (l *list) Type() string   { return l.kind }

func (l *list) Set(s string) (err error) {
	if l.check != nil {
		if s, err = l.check(s); err != nil {
			return err
		}
	}
	l.v = append(l.v, s)
	return nil
}

// size is a number of bytes: a number with an optional unit (k, m, g: powers of 1024).
type size int64

func (b *size) Type() string { return "bytes" }

func (b *size) String() string {
	if *b == 0 {
		return ""
	}
	return units.BytesSize(float64(*b))
}

func (b *size) Set(s string) error {
	n, err := units.RAMInBytes(s)
	if err != nil {
		return fmt.Errorf("%q is no size: write a number and a unit, like 512m or 2g", s)
	}
	*b = size(n)
	return nil
}

// Size is a flag that takes a number of bytes, for commands besides create.
type Size = size

// octal is a number in octal.
type octal struct {
	value uint32
	set   bool
}

func (o *octal) Type() string { return "octal" }

func (o *octal) String() string {
	if !o.set {
		return ""
	}
	return fmt.Sprintf("%04o", o.value)
}

func (o *octal) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no mask: write it in octal, like 0027", s)
	}
	o.value, o.set = uint32(n), true
	return nil
}

// swapSize is a size, or -1 for no limit.
type swapSize struct{ size }

func (b *swapSize) Set(s string) error {
	if s == "-1" {
		b.size = -1
		return nil
	}
	return b.size.Set(s)
}

func (b *swapSize) String() string {
	if b.size == -1 {
		return "-1"
	}
	return b.size.String()
}

// nanoCPUs is a number of CPUs, in billionths.
type nanoCPUs int64

func (c *nanoCPUs) Type() string { return "decimal" }

func (c *nanoCPUs) String() string {
	if *c == 0 {
		return ""
	}
	return big.NewRat(int64(*c), 1e9).FloatString(3)
}

func (c *nanoCPUs) Set(s string) error {
	r, ok := new(big.Rat).SetString(s)
	if !ok || strings.ContainsAny(s, "/eE") {
		return fmt.Errorf("%q is no number of CPUs: write one like 1.5", s)
	}
	n := new(big.Rat).Mul(r, big.NewRat(1e9, 1))
	if !n.IsInt() || !n.Num().IsInt64() || n.Sign() < 0 {
		return fmt.Errorf("%q is no number of CPUs: it is negative, too big, or has more than nine decimals", s)
	}
	*c = nanoCPUs(n.Num().Int64())
	return nil
}

// duration is a time span that is not negative.
type duration time.Duration

func (d *duration) Type() string   { return "duration" }
func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no time span: write one like 30s or 1m30s", s)
	}
	if v != 0 && v < time.Millisecond {
		return fmt.Errorf("%q is too short: 1ms is the least", s)
	}
	*d = duration(v)
	return nil
}

// oneOf is a flag with a few known values.
type oneOf struct {
	v     *string
	known []string
}

func newOneOf(v *string, initial string, known ...string) *oneOf {
	*v = initial
	return &oneOf{v, known}
}

func (o *oneOf) Type() string   { return "string" }
func (o *oneOf) String() string { return *o.v }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.known, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(o.known, ", "))
	}
	*o.v = s
	return nil
}

// only is a flag of which one value exists here.
type only struct {
	v     *string
	value string
	why   string
}

func (o *only) Type() string   { return "string" }
func (o *only) String() string { return *o.v }

func (o *only) Set(s string) error {
	if s != o.value && s != "" {
		return errors.New(o.why)
	}
	*o.v = s
	return nil
}

// refuse is a flag that has no meaning here.
type refuse struct{ why, kind string }

func (r *refuse) Type() string     { return r.kind }
func (r *refuse) String() string   { return "" }
func (r *refuse) Set(string) error { return errors.New(r.why) }

func checkNotEmpty(what, example string) check {
	return func(s string) (string, error) {
		if strings.TrimSpace(s) == "" {
			return "", fmt.Errorf("the %s is empty: write one like %s", what, example)
		}
		return s, nil
	}
}

// checkKey wants key or key=value.
func checkKey(what, example string) check {
	return func(s string) (string, error) {
		if k, _, _ := strings.Cut(s, "="); k == "" || strings.ContainsAny(k, " \t") {
			return "", fmt.Errorf("%q is no %s: write key=value, like %s", s, what, example)
		}
		return s, nil
	}
}

// checkPair wants key=value.
func checkPair(what, example string) check {
	return func(s string) (string, error) {
		if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
			return "", fmt.Errorf("%q is no %s: write key=value, like %s", s, what, example)
		}
		return s, nil
	}
}

func checkStream(s string) (string, error) {
	l := strings.ToLower(s)
	switch l {
	case "stdin", "stdout", "stderr":
		return l, nil
	}
	return "", fmt.Errorf("%q is no stream: the streams are stdin, stdout and stderr", s)
}

func checkUlimit(s string) (string, error) {
	if _, err := units.ParseUlimit(s); err != nil {
		return "", fmt.Errorf("%w: write name=soft[:hard], like nofile=1024:2048", err)
	}
	return s, nil
}

// pathValue splits DEVICE:VALUE.
func pathValue(s, example string) (path, value string, err error) {
	path, value, ok := strings.Cut(s, ":")
	if !ok || value == "" || strings.Contains(value, ":") || !strings.HasPrefix(path, "/dev/") {
		return "", "", fmt.Errorf("%q is not understood: write /dev/NAME:value, like %s", s, example)
	}
	return path, value, nil
}

func parseWeight(s string) (path string, weight uint16, err error) {
	path, v, err := pathValue(s, "/dev/sda:500")
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n != 0 && (n < 10 || n > 1000) {
		return "", 0, fmt.Errorf("%q is no weight of block I/O: it goes from 10 to 1000", v)
	}
	return path, uint16(n), nil
}

func parseBps(s string) (path string, rate uint64, err error) {
	path, v, err := pathValue(s, "/dev/sda:1mb")
	if err != nil {
		return "", 0, err
	}
	n, err := units.RAMInBytes(v)
	if err != nil || n < 0 {
		return "", 0, fmt.Errorf("%q is no rate: write bytes a second with a unit, like 1mb", v)
	}
	return path, uint64(n), nil
}

func parseIops(s string) (path string, rate uint64, err error) {
	path, v, err := pathValue(s, "/dev/sda:1000")
	if err != nil {
		return "", 0, err
	}
	rate, err = strconv.ParseUint(v, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no rate: write a number of operations a second, like 1000", v)
	}
	return path, rate, nil
}

func checkWeight(s string) (string, error) { _, _, err := parseWeight(s); return s, err }
func checkBps(s string) (string, error)    { _, _, err := parseBps(s); return s, err }
func checkIops(s string) (string, error)   { _, _, err := parseIops(s); return s, err }
