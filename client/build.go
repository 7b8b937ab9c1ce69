package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"

	"hoy/lib/buildfiles"
	"hoy/lib/buildlog"
)

// BuildOptions say what is built, of what, and what becomes of it. Package buildlog tells
// what each means to the engine.
type BuildOptions struct {
	Remote     string             // URL of the context
	Archive    io.Reader          // or a tar archive
	Files      []buildfiles.Named // or a folder, context; the Dockerfile's, dockerfile; and others
	URLs       map[string]string  // of further contexts, by name
	Dockerfile string             // path in dockerfile, or in the context; "": Dockerfile
	Target     string             // stage; "": the last

	Tags      []string
	Args      map[string]*string // nil: the variable of this name is not set
	Labels    map[string]string
	Platforms []string
	Secrets   map[string][]byte
	Auth      map[string]registry.AuthConfig // by registry
	Allow     []string                       // entitlements
	Attest    []string                       // type=…,key=value

	NoCache   bool
	NoCacheOf []string // stages
	Pull      bool     // ask registries for images that are here
	CacheFrom []string // images, or type=…,key=value
	CacheTo   []string // type=…,key=value

	Outputs []BuildOutput // none: an image
	Method  string        // lint, outline, targets: tell of the Dockerfile and build nothing

	Network      string   // of steps: default, host, none
	Hosts        []string // name:address
	ShmSize      int64    // bytes
	Ulimits      []*container.Ulimit
	CgroupParent string
	Resources    container.Resources // limits of each step: memory and CPU
}

// BuildOutput is what becomes of the result, as the engine is told.
type BuildOutput struct {
	Type  string
	Attrs map[string]string `json:",omitempty"`
}

// Build has the engine build, and calls f for each event; the last one has a Result. That
// the build fails is a *BuildFailure. Files are read when the engine wants them; that one
// cannot be is the error.
func (c *Client) Build(ctx context.Context, o BuildOptions, f func(*buildlog.Event) error) error {
	q, err := o.query()
	if err != nil {
		return err
	}
	body, form := io.Pipe()
	defer body.Close() // ends the sending when the engine has refused or is done
	m := multipart.NewWriter(form)
	files := buildfiles.NewSender()
	defer files.End()
	failed := make(chan error, 1)
	go func() {
		err := o.send(m, files)
		failed <- err
		form.CloseWithError(err)
	}()
	r := request{method: http.MethodPost, path: "/hoy/build", query: q, stream: body, asking: true, kind: m.FormDataContentType(), lines: configHeader(o.Auth)}
	var failure error
	err = stream(ctx, c, r, func(e *buildlog.Event) error {
		switch {
		case e.Wants != nil:
			files.Want(e.Wants)
			return nil
		case e.Error != nil:
			failure = &BuildFailure{Why: *e.Error}
			files.End()
		case e.Result != nil:
			files.End()
		}
		return f(e)
	})
	select {
	case sent := <-failed: // said before the body ends by it
		if unread := (*unreadFiles)(nil); errors.As(sent, &unread) {
			return unread.error
		}
	default: // still sending
	}
	if err == nil {
		err = failure
	}
	if StatusOf(err) == http.StatusNotFound && strings.HasSuffix(err.Error(), "page not found") {
		return fmt.Errorf("the engine at %s is not hoy's: it builds for docker's own command line", c.Host())
	}
	return err
}

// BuildFailure says why a build did not succeed.
type BuildFailure struct{ Why buildlog.Error }

func (f *BuildFailure) Error() string { return f.Why.Message }

// unreadFiles is a failure of ours to read what is to be sent.
type unreadFiles struct{ error }

// send writes the parts of the request.
func (o *BuildOptions) send(m *multipart.Writer, files *buildfiles.Sender) error {
	if len(o.Secrets) > 0 {
		w, err := part(m, "secrets", "application/json")
		if err != nil {
			return err
		}
		if err := json.NewEncoder(w).Encode(o.Secrets); err != nil {
			return err
		}
	}
	switch {
	case o.Archive != nil:
		w, err := part(m, "context", "application/x-tar")
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, reading{o.Archive}); err != nil {
			return err
		}
	case len(o.Files) > 0:
		w, err := part(m, "files", "application/octet-stream")
		if err != nil {
			return err
		}
		if err := files.Send(writing{w}, o.Files); errors.As(err, new(*unwritten)) {
			return err
		} else if err != nil {
			return &unreadFiles{err}
		}
	}
	return m.Close()
}

// reading marks errors of a reader as ours.
type reading struct{ io.Reader }

func (r reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &unreadFiles{err}
	}
	return n, err
}

// writing marks errors of a writer, which are not ours.
type writing struct{ io.Writer }

type unwritten struct{ error }

func (w writing) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &unwritten{err}
	}
	return n, err
}

func part(m *multipart.Writer, name, kind string) (io.Writer, error) {
	disposition := fmt.Sprintf(`form-data; name="%s"`, strings.NewReplacer("\\", "\\\\", `"`, `\"`).Replace(name))
	return m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}})
}

// query is what the request says besides its body.
func (o *BuildOptions) query() (url.Values, error) {
	q := url.Values{
		"t": o.Tags, "platform": o.Platforms, "extrahosts": o.Hosts, "nocachefilter": o.NoCacheOf,
		"cacheto": o.CacheTo, "attest": o.Attest, "allow": o.Allow,
	}
	for name, url := range o.URLs {
		q.Add("buildcontext", name+"="+url)
	}
	r := &o.Resources
	for k, v := range map[string]string{
		"dockerfile": o.Dockerfile, "remote": o.Remote, "target": o.Target, "networkmode": o.Network, "cgroupparent": o.CgroupParent,
		"method": o.Method, "cpusetcpus": r.CpusetCpus, "cpusetmems": r.CpusetMems,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, v := range map[string]int64{
		"shmsize": o.ShmSize, "memory": r.Memory, "memswap": r.MemorySwap, "cpushares": r.CPUShares, "cpuperiod": r.CPUPeriod, "cpuquota": r.CPUQuota,
	} {
		if v != 0 {
			q.Set(k, strconv.FormatInt(v, 10))
		}
	}
	flag(q, "nocache", o.NoCache)
	flag(q, "pull", o.Pull)
	for _, v := range []struct {
		key   string
		n     int
		value any
	}{
		{"buildargs", len(o.Args), o.Args}, {"labels", len(o.Labels), o.Labels}, {"cachefrom", len(o.CacheFrom), o.CacheFrom},
		{"ulimits", len(o.Ulimits), o.Ulimits}, {"outputs", len(o.Outputs), o.Outputs},
	} {
		if v.n == 0 {
			continue
		}
		b, err := json.Marshal(v.value)
		if err != nil {
			return nil, err
		}
		q.Set(v.key, string(b))
	}
	maps.DeleteFunc(q, func(_ string, v []string) bool { return len(v) == 0 })
	return q, nil
}

// configHeader has the credentials of several registries, "" if there are none.
func configHeader(auth map[string]registry.AuthConfig) string {
	if len(auth) == 0 {
		return ""
	}
	b, _ := json.Marshal(auth) // texts can always be encoded
	return "X-Registry-Config: " + base64.URLEncoding.EncodeToString(b) + "\r\n"
}

// BuildPruneOptions say what of the build cache goes. Sizes are in bytes, 0 for none.
type BuildPruneOptions struct {
	All                        bool // what images and frontends need, too
	Filters                    Filters
	Reserved, MaxUsed, MinFree int64
}

// BuildPrune removes build cache.
func (c *Client) BuildPrune(ctx context.Context, o BuildPruneOptions) (out build.CachePruneReport, err error) {
	q := url.Values{}
	flag(q, "all", o.All)
	o.Filters.encode(q)
	for k, v := range map[string]int64{"keep-storage": o.Reserved, "reserved-space": o.Reserved, "max-used-space": o.MaxUsed, "min-free-space": o.MinFree} {
		if v != 0 {
			q.Set(k, strconv.FormatInt(v, 10))
		}
	}
	return out, c.call(ctx, http.MethodPost, "/build/prune", q, nil, &out)
}
