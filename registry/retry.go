package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The longest that is waited for the next attempt. A registry that asks for more is not
// waited for: the error says what it asked for.
const longestWait = time.Minute

// persistent sends a request again when it may do better: after errors of the network,
// 408, 429 and 5xx, as long as its body can be had again. It ends an attempt from which nothing
// comes any more.
type persistent struct {
	next     http.RoundTripper
	attempts int
	delay    time.Duration // before the second attempt
	silence  time.Duration // so long nothing may come
}

func (p *persistent) RoundTrip(r *http.Request) (*http.Response, error) {
	repeatable := r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
	for n := 1; ; n++ {
		res, err := p.send(r)
		if !repeatable || n >= p.attempts || r.Context().Err() != nil {
			return res, err
		}
		if err != nil && !mayPass(err) || err == nil && !again(res.StatusCode) {
			return res, err
		}
		d := delay(p.delay, n)
		if err == nil {
			if asked, ok := retryAfter(res.Header, time.Now()); ok {
				if asked > longestWait {
					return res, nil
				}
				d = max(d, asked)
			}
			discard(res)
		}
		if err := sleep(r.Context(), d); err != nil {
			return nil, err
		}
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
	}
}

var errSilent = errors.New("no answer in time")

// send makes one attempt. A registry may take its time for what it is given: it copies
// and checks a blob before it answers.
func (p *persistent) send(r *http.Request) (*http.Response, error) {
	silence := p.silence
	if r.Method == http.MethodPut || r.Method == http.MethodPatch {
		silence *= 15
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	timer := time.AfterFunc(silence, func() { cancel(errSilent) })
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &paced{r.Body, timer, silence}
	}
	res, err := p.next.RoundTrip(r)
	late := !timer.Stop()
	if err != nil {
		if late && errors.Is(context.Cause(ctx), errSilent) {
			err = errSilent
		}
		cancel(nil)
		return nil, err
	}
	timer = time.AfterFunc(p.silence, func() { cancel(errSilent) })
	timer.Stop() // until somebody reads
	res.Body = &watched{res.Body, timer, p.silence, cancel}
	return res, nil
}

// paced is a body that is sent: as long as it is, the answer may wait.
type paced struct {
	io.ReadCloser
	timer   *time.Timer
	silence time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	p.timer.Reset(p.silence)
	return p.ReadCloser.Read(b)
}

// watched is a body whose request ends when nothing comes for too long. That nobody
// reads does not count.
type watched struct {
	io.ReadCloser
	timer   *time.Timer // cancels
	silence time.Duration
	cancel  context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.silence)
	n, err := w.ReadCloser.Read(p)
	if !w.timer.Stop() && err != nil && err != io.EOF {
		err = errSilent
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	defer w.cancel(nil)
	return w.ReadCloser.Close()
}

// again tells whether a status may be another one the next time.
func again(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// mayPass tells whether an error of the way to a registry may be gone the next time: a
// certificate that is wrong stays so, and so does a name that does not exist.
func mayPass(err error) bool {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errRedirect):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &alert), errors.As(err, &record):
		return false
	}
	return true
}

// delay is what is waited after the nth attempt: twice as long each time, of which up to
// a half is chance, so that those who failed together do not come back together.
func delay(first time.Duration, n int) time.Duration {
	d := min(first<<min(n-1, 20), 15*time.Second)
	return d/2 + rand.N(d/2+1)
}

// retryAfter is what a registry asks to be left alone for (RFC 9110, 10.2.3): seconds
// or a date.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// discard ends with a response, keeping its connection if little is left of it.
func discard(res *http.Response) {
	io.CopyN(io.Discard, res.Body, 64<<10)
	res.Body.Close()
}
