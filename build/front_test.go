package build

import (
	"archive/tar"
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/jsonstream"
)

// archive is a tar archive of files, whose names and contents alternate.
func archive(t testing.TB, files ...string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(files[i+1]))
	}
	w.Close()
	return &b
}

// classic builds and returns all words.
func (h *bench) classic(r Request) (string, *Result, error) {
	h.b.o.Tag = h.store.Tag
	var words strings.Builder
	ids := 0
	res, err := h.b.Classic(h.t.Context(), r, Classic{
		Stdout:   func(s string) { words.WriteString(s) },
		Stderr:   func(s string) { words.WriteString("! " + s) },
		Progress: func(jsonstream.Message) {},
		Image:    func(string) { ids++ },
	})
	return words.String(), res, err
}

// hexes are ids, and made-up names of containers.
var hexes = regexp.MustCompile(`\b[0-9a-f]{12}\b`)

// TestClassicWords: each instruction makes an image, whose parent is that of the one
// before; what is done again is found.
func TestClassicWords(t *testing.T) {
	h := newBench(t)
	h.busybox()
	const first = `Step 1/6 : FROM busybox
 ---> ID
Step 2/6 : ENV A=b
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 3/6 : COPY x /x
 ---> ID
Step 4/6 : WORKDIR /w
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 5/6 : LABEL l=m
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
Step 6/6 : LABEL q=$"
 ---> Running in ID
 ---> Removed intermediate container ID
 ---> ID
[Warning] One or more build-args [UNUSED] were not consumed
Successfully built ID
Successfully tagged t:latest
`
	second := strings.ReplaceAll(first, " ---> Running in ID\n ---> Removed intermediate container ID\n", " ---> Using cache\n")
	second = strings.Replace(second, "/x\n --->", "/x\n ---> Using cache\n --->", 1)
	value := "v"
	for _, want := range []string{first, second} {
		words, res, err := h.classic(Request{
			Context: archive(t, "Dockerfile", "FROM busybox\nENV A=b\nCOPY x /x\nWORKDIR /w\n", "x", "hello"),
			Tags:    []string{"docker.io/library/t:latest"}, Labels: map[string]string{"l": "m", "q": "$\""}, Args: map[string]*string{"UNUSED": &value},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := hexes.ReplaceAllString(words, "ID"); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		im, err := h.store.Get(t.Context(), "t")
		if err != nil || im.ID != res.ImageID || im.Config.Config.Labels["q"] != "$\"" {
			t.Errorf("%v, %+v, %v", res, im, err)
		}
	}
	steps, err := h.store.History(t.Context(), "t", nil)
	if err != nil || len(steps) != 6 {
		t.Fatal(steps, err)
	}
	for _, s := range steps[:5] {
		if s.ID == "<missing>" {
			t.Errorf("%s has no image", s.CreatedBy)
		}
	}
}
