package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// statusError is a registry's or token server's answer that is no success.
type statusError struct {
	host  string
	what  string // token server; "": registry
	code  int
	name  string        // the first error's code (distribution-spec, "Error Codes"); "": none
	text  string        // what it says for people; ""
	after time.Duration // Retry-After
}

func (e *statusError) Error() string {
	what := e.what
	if what == "" {
		what = "registry"
	}
	s := fmt.Sprintf("%s %s answers %d %s", what, e.host, e.code, http.StatusText(e.code))
	if e.code == http.StatusTooManyRequests {
		s = fmt.Sprintf("%s %s limits how much may be asked of it (429)", what, e.host)
	}
	if e.text != "" {
		s += ": " + e.text
	}
	if e.after > 0 {
		s += fmt.Sprintf("; it asks to come back in %s", e.after.Round(time.Second))
	}
	return s
}

// kind is the kind of failure that a status is.
func (e *statusError) kind() fault.Kind {
	switch {
	case e.code == http.StatusUnauthorized:
		return fault.Unauthorized
	case e.code == http.StatusForbidden:
		return fault.Forbidden
	case e.code == http.StatusNotFound, e.code == http.StatusGone:
		return fault.NotFound
	case e.code == http.StatusTooManyRequests, e.code == http.StatusRequestTimeout, e.code >= 500:
		return fault.Unavailable
	case e.code >= 400:
		return fault.Invalid
	}
	return fault.Unavailable
}

// newStatusError reads what a refusal says, and ends with it.
func newStatusError(res *http.Response) *statusError {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what is cut off is not shown either
	res.Body.Close()
	e := &statusError{host: res.Request.URL.Host, code: res.StatusCode, text: bodyText(b)}
	e.after, _ = retryAfter(res.Header, time.Now())
	var list struct{ Errors []struct{ Code string } }
	if json.Unmarshal(b, &list) == nil && len(list.Errors) > 0 {
		e.name = list.Errors[0].Code
	}
	return e
}

// bodyText is what a refusal's body has for people: of the errors that the specification
// describes their messages, of a token server's its details, of plain text the first line.
// HTML is of some proxy and tells nothing.
func bodyText(b []byte) string {
	var said struct {
		Errors []struct {
			Code, Message string
			Detail        any
		}
		Details, Message, Error string
		Description             string `json:"error_description"`
	}
	if json.Unmarshal(b, &said) == nil {
		var l []string
		for _, e := range said.Errors {
			t := e.Message
			if t == "" {
				t = strings.ToLower(e.Code)
			}
			if d, ok := e.Detail.(string); ok && d != "" {
				t += " (" + d + ")"
			}
			l = append(l, t)
		}
		for _, t := range []string{said.Details, said.Description, said.Message, said.Error} {
			if len(l) == 0 && t != "" {
				l = append(l, t)
			}
		}
		return printable(strings.Join(l, "; "))
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if strings.HasPrefix(line, "<") || strings.HasPrefix(line, "{") {
		return ""
	}
	return printable(line)
}

// printable keeps a stranger's text to one line of a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}

// networkError says why a host could not be spoken to. Of a URL in it only the host is
// shown: the query of a redirect may be as good as a password.
func networkError(host string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
		if to, _ := url.Parse(u.URL); to != nil && to.Host != host && !errors.Is(err, errRedirect) && !errors.Is(err, context.Canceled) {
			return fault.New(fault.Unavailable, "registry %s leads to %s, which cannot be reached: %w", host, to.Host, err)
		}
	}
	if errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Internal {
		return err
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fault.New(fault.Unavailable, "cannot reach registry %s: there is no host of this name: %w", host, err)
	case errors.As(err, &cert):
		return fault.New(fault.Unavailable, "registry %s has a certificate that cannot be trusted; put its authority's into certs.d/%s/ca.crt, or add it to insecure-registries: %w", host, host, err)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return fault.New(fault.Unavailable, "registry %s does not speak TLS; add it to insecure-registries if that is meant: %w", host, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.New(fault.Unavailable, "nobody answers at %s: %w", host, err)
	case errors.Is(err, errRedirect):
		return fault.New(fault.Unavailable, "registry %s: %w", host, err)
	}
	return fault.New(fault.Unavailable, "cannot reach registry %s: %w", host, err)
}

// refusal is an error of an operation on name, in words that say what to do. what is the
// operation, as pull; ref is what was asked for, as a tag.
func (r *Repository) refusal(what, ref string, err error) error {
	var s *statusError
	if !errors.As(err, &s) {
		return err
	}
	name := reference.FamiliarName(r.name)
	switch {
	case s.code == http.StatusUnauthorized || s.code == http.StatusForbidden || s.name == "DENIED":
		kind := fault.NotFound // as docker: who may not see it cannot know whether it exists
		if what == "push" {
			kind = s.kind()
		}
		return fault.New(kind, "%s access denied for %s: the repository does not exist or asks for other credentials, which \"hoy login%s\" stores%s: %w",
			what, name, r.loginArgument(), r.misfit(), s)
	case s.code == http.StatusNotFound && ref != "":
		return fault.New(fault.NotFound, "%s not found: %w", ref, s)
	}
	return fault.As(s.kind(), fmt.Errorf("cannot %s %s: %w", what, name, s))
}

// misfit says that credentials were given, but for somebody else.
func (r *Repository) misfit() string {
	if m := r.endpoints[len(r.endpoints)-1].misfit; m != "" {
		return fmt.Sprintf(" (those that were given are for %s)", hostOf(m))
	}
	return ""
}

// loginArgument is what to tell hoy login: of the default registry nothing.
func (r *Repository) loginArgument() string {
	if d := reference.Domain(r.name); d != defaultDomain {
		return " " + d
	}
	return ""
}
