package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	apicontainer "github.com/moby/moby/api/types/container"

	"hoy/container"
	"hoy/lib/fault"
)

const tarType = "application/x-tar"

// statHeader describes what a copy is of.
const statHeader = "X-Docker-Container-Path-Stat"

func (r *request) setStat(s *apicontainer.PathStat) error {
	b, err := json.Marshal(s)
	if err == nil {
		r.w.Header().Set(statHeader, base64.StdEncoding.EncodeToString(b))
	}
	return err
}

// archivePath is the path of a copy, which must be there.
func (r *request) archivePath() (string, error) {
	p := r.value("path")
	if p == "" {
		return "", fault.New(fault.Invalid, "bad parameter: path cannot be empty")
	}
	return p, nil
}

func archiveStat(r *request) response {
	p, err := r.archivePath()
	if err != nil {
		return failure{err}
	}
	s, err := r.server.Containers.StatPath(r.Context(), r.vars[0], p)
	if err == nil {
		err = r.setStat(s)
	}
	return done(http.StatusOK, err)
}

func archiveGet(r *request) response {
	p, err := r.archivePath()
	if err != nil {
		return failure{err}
	}
	a, err := r.server.Containers.Archive(r.Context(), r.vars[0], p)
	if err == nil {
		err = r.setStat(a.Stat)
	}
	return packed(a, err)
}

func containerExport(r *request) response {
	return packed(r.server.Containers.Export(r.Context(), r.vars[0]))
}

// packed answers with an archive of a container's files.
func packed(a *container.Archive, err error) response {
	if err != nil {
		if a != nil {
			a.Close()
		}
		return failure{err}
	}
	return tarStream(func(ctx context.Context, w io.Writer) error {
		defer a.Close()
		return a.Write(ctx, w)
	})
}

// tarStream is an archive that a function writes. When it fails in the middle, the
// connection breaks: the client must not take a part for the whole.
type tarStream func(ctx context.Context, w io.Writer) error

func (t tarStream) write(r *request) {
	ctx, cancel := r.streaming()
	defer cancel()
	w := &tarWriter{r: r, ResponseController: http.NewResponseController(r.w)}
	err := t(ctx, w)
	switch {
	case err == nil:
		w.begin()
	case r.started:
		failure{err}.write(r) // is logged
		panic(http.ErrAbortHandler)
	default:
		r.w.Header().Del(statHeader)
		failure{err}.write(r)
	}
}

// tarWriter begins the answer with its first byte.
type tarWriter struct {
	*http.ResponseController // for SetWriteDeadline
	r                        *request
}

func (w *tarWriter) begin() {
	if !w.r.started {
		w.r.begin(http.StatusOK, tarType)
	}
}

func (w *tarWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.r.w.Write(p)
}

// tarReader is an archive in a request.
type tarReader struct {
	*http.ResponseController // for SetReadDeadline
	io.Reader
}

func archivePut(r *request) response {
	p, err := r.archivePath()
	if err != nil {
		return failure{err}
	}
	return done(http.StatusOK, r.server.Containers.Extract(r.Context(), r.vars[0], container.ExtractOptions{
		Path: p, KeepKinds: r.flag("noOverwriteDirNonDir"), CopyUIDGID: r.flag("copyUIDGID"),
	}, tarReader{http.NewResponseController(r.w), r.Body}))
}

func containerChanges(r *request) response {
	return result(r.server.Containers.Changes(r.Context(), r.vars[0]))
}
