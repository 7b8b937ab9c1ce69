package build

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/archiveutil"

	"hoy/image/extract"
	"hoy/lib/buildfiles"
	"hoy/lib/fault"
)

// contextHost begins the names of hosts that only bodies knows.
const contextHost = "build-context-"

// contextURL begins the URLs that lead to them.
const contextURL = "http://" + contextHost

// bodies gives BuildKit the archives that requests bring, as downloads: BuildKit keeps
// them out of memory, unpacks them in a root of their own and finds them again by their
// content. Each can be read once. A name has 25 random letters, so that no Dockerfile
// reads another build's.
type bodies struct {
	mu      sync.Mutex
	waiting map[string]*body
}

// add returns a URL to read r by, until drop is called.
func (b *bodies) add(r io.Reader) (url string, drop func()) {
	id := identity.NewID()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[string]*body{}
	}
	b.waiting[id] = &body{r: r}
	return contextURL + id, func() { b.take(id) }
}

func (b *bodies) take(id string) *body {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.waiting[id]
	delete(b.waiting, id)
	return r
}

// over is a transport that knows the archives, and leaves all else to next.
func (b *bodies) over(next http.RoundTripper) http.RoundTripper { return bodyTransport{b, next} }

type bodyTransport struct {
	*bodies
	next http.RoundTripper
}

func (t bodyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	id, ok := strings.CutPrefix(r.URL.Host, contextHost)
	if !ok {
		return t.next.RoundTrip(r)
	}
	b := t.take(id)
	if b == nil || r.Method != http.MethodGet {
		return nil, fmt.Errorf("the build context is not there: it was read already")
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: b, ContentLength: -1, Request: r}, nil
}

// body decompresses what is read from it. The archive is decompressed here, within
// bounds, because BuildKit would start the host's programs for some formats.
type body struct {
	r     io.Reader
	plain io.ReadCloser
	whole io.Reader // plain, told from a Dockerfile
	err   error
}

func (b *body) Read(p []byte) (int, error) {
	if b.plain == nil && b.err == nil {
		if b.plain, _, b.err = extract.Decompress(b.r); b.err == nil {
			b.whole, b.err = recognizable(b.plain)
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.whole.Read(p)
}

// recognizable puts a header without meaning before an archive that BuildKit, which looks
// at the first 1,024 bytes, would take for a Dockerfile: one whose first member has more
// to say, as all have that Python makes.
func recognizable(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	head, err := in.Peek(buildfiles.TarHead)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if archiveutil.IsArchive(head) || !buildfiles.IsTar(head) {
		return in, nil
	}
	var lead bytes.Buffer
	w := tar.NewWriter(&lead)
	err = w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "a tar archive"},
	})
	if err == nil {
		err = w.Flush()
	}
	return io.MultiReader(&lead, in), err
}

func (b *body) Close() error {
	if b.plain == nil {
		return nil
	}
	return b.plain.Close()
}

// uploadWait is how long the two requests of a build whose context comes by a second one
// wait for each other.
const uploadWait = 5 * time.Second

// uploads bring together a build and the request that has its context.
type uploads struct {
	mu      sync.Mutex
	waiting map[string]*meeting
}

type meeting struct {
	n  int // who waits
	ch chan *upload
}

type upload struct {
	io.Reader
	once sync.Once
	read chan struct{} // closed when nothing more will be read
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err != nil {
		u.done()
	}
	return n, err
}

func (u *upload) done() { u.once.Do(func() { close(u.read) }) }

func (u *uploads) join(id string) (ch chan *upload, leave func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.waiting[id]
	if m == nil {
		m = &meeting{ch: make(chan *upload)}
		if u.waiting == nil {
			u.waiting = map[string]*meeting{}
		}
		u.waiting[id] = m
	}
	m.n++
	return m.ch, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if m.n--; m.n == 0 {
			delete(u.waiting, id)
		}
	}
}

// Upload gives the build of the id its context, and returns when that is read or the
// build is over.
func (b *Builder) Upload(ctx context.Context, id string, context io.Reader) error {
	ch, leave := b.front.uploads.join(id)
	defer leave()
	u := &upload{Reader: context, read: make(chan struct{})}
	select {
	case ch <- u:
	case <-time.After(uploadWait):
		return fault.New(fault.NotFound, "no build %s waits for its context", id)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-u.read:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// uploaded waits for the context that another request brings.
func (u *uploads) uploaded(ctx context.Context, id string) (*upload, error) {
	ch, leave := u.join(id)
	defer leave()
	select {
	case up := <-ch:
		return up, nil
	case <-time.After(uploadWait):
		return nil, fault.New(fault.Invalid, "no request brought the context of build %s", id)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
