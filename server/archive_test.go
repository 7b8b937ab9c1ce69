package server

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/container"
	"hoy/lib/fault"
)

// moby's own client reads what is said of a file, and sends an archive.
func TestArchiveByMobysClient(t *testing.T) {
	var got container.ExtractOptions
	var content []byte
	socket, _ := serve(t, &backend{extract: func(o container.ExtractOptions, r io.Reader) (err error) {
		got = o
		content, err = io.ReadAll(r)
		return err
	}})
	c := docker(t, socket)
	s, err := c.ContainerStatPath(t.Context(), "x", client.ContainerStatPathOptions{Path: "/a b"})
	if err != nil || s.Stat.Name != "/a b" || s.Stat.Mode != fs.FileMode(0o644) || s.Stat.LinkTarget != "/to" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = c.CopyToContainer(t.Context(), "x", client.CopyToContainerOptions{DestinationPath: "/dir", Content: strings.NewReader("archive"), CopyUIDGID: true})
	if err != nil || got.Path != "/dir" || !got.KeepKinds || !got.CopyUIDGID || string(content) != "archive" {
		t.Errorf("%+v, %q, %v", got, content, err)
	}
	for _, path := range []string{"/containers/x/archive", "/containers/x/archive?path="} {
		r, b := call(t, socket, "GET", path, nil)
		if r.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "path cannot be empty") {
			t.Errorf("%s: %s, %s", path, r.Status, b)
		}
	}
}

// An archive that breaks off is no archive for the client; one that fails before its
// first byte is an ordinary error.
func TestSaveThatFails(t *testing.T) {
	var refs []string
	var wanted []ocispec.Platform
	when := 0
	socket, _ := serve(t, &backend{save: func(r []string, p []ocispec.Platform, w io.Writer) error {
		refs, wanted = r, p
		if when == 0 {
			return fault.New(fault.NotFound, "No such image: a")
		}
		io.WriteString(w, strings.Repeat("x", when))
		if when == 3 {
			return nil
		}
		return errors.New("the disk is gone")
	}})
	c := docker(t, socket)
	platform := ocispec.Platform{OS: "linux", Architecture: "arm64"}
	if _, err := c.ImageSave(t.Context(), []string{"a", "b/c:d"}, client.ImageSaveWithPlatforms(platform)); err == nil || !strings.Contains(err.Error(), "No such image: a") {
		t.Errorf("a missing image: %v", err)
	}
	if !slices.Equal(refs, []string{"a", "b/c:d"}) || len(wanted) != 1 || wanted[0].Architecture != "arm64" {
		t.Errorf("asked for %q, %v", refs, wanted)
	}
	for _, when = range []int{3, 100_000} {
		r, err := c.ImageSave(t.Context(), []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		r.Close()
		if (err == nil) != (when == 3) {
			t.Errorf("after %d bytes: %v", when, err)
		}
	}
}

// The forms in which clients ask for a commit.
func TestCommitRequest(t *testing.T) {
	var got container.CommitRequest
	socket, _ := serve(t, &backend{commit: func(r container.CommitRequest) (string, error) { got = r; return "sha256:1", nil }})
	c := docker(t, socket)
	for query, want := range map[string]container.CommitRequest{
		"container=c":                            {Container: "c", Pause: true},
		"container=c&pause=0":                    {Container: "c"},
		"container=c&pause=1&repo=a/b&tag=t":     {Container: "c", Pause: true, Ref: "a/b:t"},
		"container=c&author=A&comment=C&repo=r":  {Container: "c", Pause: true, Ref: "r", Author: "A", Comment: "C"},
		"container=c&changes=USER+x&changes=ENV": {Container: "c", Pause: true, Changes: []string{"USER x", "ENV"}},
	} {
		for _, body := range []string{"", "null"} {
			r, b := call(t, socket, "POST", "/commit?"+query, strings.NewReader(body), "Content-Type", "application/json")
			if r.StatusCode != http.StatusCreated || strings.TrimSpace(b) != `{"Id":"sha256:1"}` {
				t.Errorf("%s: %s, %s", query, r.Status, b)
			}
			if got.Container != want.Container || got.Pause != want.Pause || got.Ref != want.Ref || got.Author != want.Author || got.Comment != want.Comment || got.Config != nil || !slices.Equal(got.Changes, want.Changes) {
				t.Errorf("%s: %+v", query, got)
			}
		}
	}
	if _, err := c.ContainerCommit(t.Context(), "c", client.ContainerCommitOptions{Reference: "r:t", NoPause: true}); err != nil || got.Pause || got.Ref != "docker.io/library/r:t" {
		t.Errorf("moby's client: %+v, %v", got, err)
	}
}
