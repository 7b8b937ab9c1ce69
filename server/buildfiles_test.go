package server

import (
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"

	"hoy/build"
	"hoy/lib/buildfiles"
	"hoy/lib/buildlog"
)

// oneFile is a folder of one file.
type oneFile struct{ name, text string }

func (f oneFile) List(tell func(buildfiles.Entry) error) error {
	return tell(buildfiles.Entry{Name: f.name, Mode: 0o644, Size: int64(len(f.text))})
}

func (f oneFile) Open(string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.text)), nil
}

// TestHoyBuildFiles: files are fetched by events, in the request that goes on meanwhile.
func TestHoyBuildFiles(t *testing.T) {
	socket, _ := serve(t, &backend{build: func(_ context.Context, r build.Request) (*build.Result, error) {
		in, err := r.Files.Open("context", "a")
		if err != nil {
			return nil, err
		}
		defer in.Close()
		text, err := io.ReadAll(in)
		return &build.Result{ImageID: string(text)}, err
	}})
	for name, want := range map[string]string{"a": "its text", "../a": "is no name of a file below a folder"} {
		body, form := io.Pipe()
		w := multipart.NewWriter(form)
		files := buildfiles.NewSender()
		go func() {
			part, err := w.CreateFormField("files")
			if err == nil {
				err = files.Send(part, []buildfiles.Named{{Name: "context", Folder: oneFile{name, "its text"}}})
			}
			w.Close()
			form.CloseWithError(err)
		}()
		transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://engine/hoy/build", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", w.FormDataContentType())
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for d := json.NewDecoder(resp.Body); got == ""; {
			var e struct {
				buildlog.Event
				Message string // of a refusal
			}
			if err := d.Decode(&e); err != nil {
				t.Fatal(err)
			}
			files.Want(e.Wants)
			if got = e.Message; e.Result != nil {
				got = e.Result.ImageID
			}
		}
		files.End()
		resp.Body.Close()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
