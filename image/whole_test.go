package image

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/image/extract"
)

// complete compares each layer of an image, as it is unpacked, with its blob.
func complete(t *testing.T, s *Store, im *Image) {
	t.Helper()
	if len(im.blobs) != len(im.Layers) || len(im.blobs) == 0 {
		t.Errorf("image %v has %d blobs and %d layers", im.RepoTags, len(im.blobs), len(im.Layers))
		return
	}
	var names []string
	if err := s.Save(t.Context(), []string{im.ID}, nil, io.Discard, func(*Image) {}); err != nil {
		t.Errorf("cannot save %v: %v", im.RepoTags, err)
	}
	for i, b := range im.blobs {
		blob, err := os.Open(filepath.Join(s.o.Root, "content/blobs/sha256", b.Digest.Encoded()))
		if err != nil {
			t.Error(err)
			continue
		}
		plain, _, err := extract.Decompress(blob)
		if err != nil {
			t.Fatal(err)
		}
		sum := im.Config.RootFS.DiffIDs[i].Verifier()
		tr := tar.NewReader(io.TeeReader(plain, sum))
		for h, err := tr.Next(); err != io.EOF; h, err = tr.Next() {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
			want, _ := io.ReadAll(tr)
			// Layers are top first.
			got, err := os.ReadFile(filepath.Join(im.Layers[len(im.Layers)-1-i], h.Name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, layer %d, %s: %v, %d bytes of %d", im.RepoTags, i, h.Name, err, len(got), len(want))
			}
		}
		io.Copy(sum, plain)
		if !sum.Verified() {
			t.Errorf("%v: blob %s is not what it was", im.RepoTags, b.Digest)
		}
		blob.Close()
	}
	if len(names) == 0 {
		t.Errorf("%v has no files", im.RepoTags)
	}
	if err := run(t, im); err != nil {
		t.Errorf("%v does not run: %v", im.RepoTags, err)
	}
}

// run executes the program that exits has made, in the image's root.
func run(t *testing.T, im *Image) error {
	root := t.TempDir()
	// One layer alone is no overlay.
	lower := strings.Join(append(im.Layers, t.TempDir()), ":")
	if err := unix.Mount("overlay", root, "overlay", unix.MS_RDONLY, "lowerdir="+lower); err != nil {
		return err
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	c := exec.Command("/exits")
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	c.Dir = "/"
	return c.Run()
}

// exits is the least program: it exits with 0.
func exits() member {
	machine, code := uint16(elf.EM_X86_64), []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // xor edi,edi; mov eax,SYS_exit; syscall
	if runtime.GOARCH == "arm64" {
		machine, code = uint16(elf.EM_AARCH64), []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x0,0; mov x8,SYS_exit; svc 0
	}
	const at, head = 0x400000, 64 + 56
	size := uint64(head + len(code))
	var b bytes.Buffer
	h := elf.Header64{Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: machine, Version: 1,
		Entry: at + head, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at, Paddr: at, Filesz: size, Memsz: size, Align: 4096}
	for _, part := range []any{h, p, code} {
		binary.Write(&b, binary.LittleEndian, part)
	}
	m := file("exits", b.String())
	m.Mode = 0o755
	return m
}

// left lists what is in the store and needed by nobody.
func left(t *testing.T, s *Store) (out []string) {
	t.Helper()
	p, err := s.Places(t.Context(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for dir, held := range map[string]map[string]Holder{"content/blobs/sha256": p.Blobs, "overlay/snapshots": p.Layers, "staging": nil, "content/ingest": nil} {
		es, err := os.ReadDir(filepath.Join(s.o.Root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range es {
			if held[e.Name()] == HeldByNobody && held["sha256/"+e.Name()] == HeldByNobody {
				out = append(out, dir+"/"+e.Name())
			}
		}
	}
	slices.Sort(out)
	return out
}
