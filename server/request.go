package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/lib/fault"
	"hoy/lib/filters"
)

// maxBody bounds a JSON body: ten thousand variables and 100 kB arguments fit.
const maxBody = 32 << 20

// request is one request on its way through a handler.
type request struct {
	*http.Request
	server  *Server
	w       http.ResponseWriter
	version version
	vars    [2]string // what the path's {…} stand for
	query   url.Values
	started bool // the answer has begun
	ancient bool // a client from before errors were JSON
}

// form is the query, parsed at first use.
func (r *request) form() url.Values {
	if r.query == nil {
		r.query = r.URL.Query()
	}
	return r.query
}

func (r *request) value(name string) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return r.form().Get(name)
}

// flag reads a boolean as docker does: everything but a few words is true.
func (r *request) flag(name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.value(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// integer reads an optional number.
func (r *request) integer(name string) (value int, set bool, err error) {
	text := r.value(name)
	if text == "" {
		return 0, false, nil
	}
	value, err = strconv.Atoi(text)
	if err != nil {
		return 0, false, fault.New(fault.Invalid, "invalid value for %q: %w", name, err)
	}
	return value, true, nil
}

// filters reads the filters parameter and refuses keys that are not known.
func (r *request) filters(known ...string) (filters.Filters, error) {
	f, err := filters.Parse(r.value("filters"))
	if err != nil {
		return nil, err
	}
	return f, f.Validate(known...)
}

// time reads a moment: seconds since 1970 with a fraction. "" and 0 are no moment.
func (r *request) time(name string) (time.Time, error) {
	text := r.value(name)
	if text == "" || text == "0" {
		return time.Time{}, nil
	}
	seconds, fraction, _ := strings.Cut(text, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "invalid value for %q: %w", name, err)
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	n, err := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
	if err != nil {
		return time.Time{}, fault.New(fault.Invalid, "invalid value for %q: %w", name, err)
	}
	return time.Unix(s, int64(n)), nil
}

// size reads rows and columns of a terminal.
func (r *request) size() (rows, cols uint16, err error) {
	if rows, err = r.extent("h"); err != nil {
		return 0, 0, fault.New(fault.Invalid, "invalid resize height %q: %w", r.value("h"), err)
	}
	if cols, err = r.extent("w"); err != nil {
		return 0, 0, fault.New(fault.Invalid, "invalid resize width %q: %w", r.value("w"), err)
	}
	return rows, cols, nil
}

// extent reads a number of 32 bits, as docker allows; a terminal has 16.
func (r *request) extent(name string) (uint16, error) {
	digits, negative := strings.CutPrefix(r.value(name), "-")
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil:
		return 0, errors.Unwrap(err) // without the name of the function
	case negative:
		return 0, strconv.ErrRange
	}
	return uint16(min(n, math.MaxUint16)), nil
}

// body decodes the JSON body into v; no body leaves v as it is.
func (r *request) body(v any) error {
	return r.json(func(body io.Reader) error { return decodeJSON(body, v) })
}

// json gives the body, if there is one, to decode. That reads it to its end:
// what follows on a hijacked connection is the stream's.
func (r *request) json(decode func(io.Reader) error) error {
	if r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	if t := r.Header.Get("Content-Type"); t != "" && t != "application/json" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return fault.New(fault.Invalid, "unsupported Content-Type header (%s): must be 'application/json'", t)
		}
	}
	err := decode(http.MaxBytesReader(r.w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return fault.New(fault.Invalid, "the request's body is larger than %d bytes", int64(maxBody))
	}
	return err
}

// decodeJSON reads one JSON value and refuses anything behind it.
func decodeJSON(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	switch err := d.Decode(v); {
	case errors.Is(err, io.EOF):
		return fault.New(fault.Invalid, "invalid JSON: got EOF while reading request body")
	case err != nil:
		return fault.New(fault.Invalid, "invalid JSON: %w", err)
	}
	if d.More() {
		return fault.New(fault.Invalid, "unexpected content after JSON")
	}
	_, err := io.Copy(io.Discard, body)
	return err
}

// platform reads "os[/arch[/variant]]", as create and import have it.
func (r *request) platform() (*ocispec.Platform, error) {
	text := r.value("platform")
	if text == "" || strings.HasPrefix(text, "{") {
		return r.jsonPlatform(text)
	}
	p, err := platforms.Parse(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "invalid platform: %w", err)
	}
	return &p, nil
}

// platformSince is platform for a call that has it since version v; older clients do not
// mean it.
func (r *request) platformSince(v version) (*ocispec.Platform, error) {
	if r.version < v {
		return nil, nil
	}
	return r.platform()
}

// jsonPlatform reads a platform as newer calls have it.
func (r *request) jsonPlatform(text string) (*ocispec.Platform, error) {
	if text == "" {
		return nil, nil
	}
	p := &ocispec.Platform{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fault.New(fault.Invalid, "failed to parse platform: %w", err)
	}
	if p.OS == "" || p.Architecture == "" {
		return nil, fault.New(fault.Invalid, "both OS and Architecture must be provided")
	}
	return p, nil
}

// platforms reads every value of the query's name as a JSON platform.
func (r *request) platforms(name string) ([]ocispec.Platform, error) {
	var list []ocispec.Platform
	for _, text := range r.form()[name] {
		p, err := r.jsonPlatform(text)
		if err != nil {
			return nil, err
		}
		if p != nil {
			list = append(list, *p)
		}
	}
	return list, nil
}

// streaming returns a context for an answer without a natural end: it ends with
// the client's connection or the server.
func (r *request) streaming() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(r.server.streams, cancel)
	return ctx, func() { stop(); cancel() }
}

// cut ends the answer before its end, so that the client sees that it was cut off: the
// engine ends, and what was followed goes on.
func (r *request) cut() {
	r.flush()
	panic(http.ErrAbortHandler)
}
