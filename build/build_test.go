package build

import (
	"context"
	"testing"
)

func TestCopiesFiles(t *testing.T) {
	h := newBench(t)
	h.busybox()
	got, err := h.build(t.Context(), "FROM busybox\nCOPY a /b\nENV X=1\nCMD [\"cat\", \"/b\"]\n", map[string]string{"a": "hello"})
	if err != nil {
		t.Fatal(err)
	}
	im, err := h.store.Get(context.Background(), "built")
	if err != nil {
		t.Fatal(err)
	}
	if im.ID != got.digest || len(im.Layers) != 2 {
		t.Errorf("got %+v, image %+v", got, im)
	}
}
