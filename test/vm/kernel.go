package vm

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// kernelPackages are Debian's names for the 6.12 kernel for clouds: in bookworm, and in
// trixie, whose own it is.
func kernelPackages() []string {
	return []string{"linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"}
}

// kernel is what a machine boots with, kept in the user's cache directory.
type kernel struct {
	image   string // uncompressed, which boots quicker, where it can be had
	modules string // archive of the modules
}

// findKernel returns the kernel from the cache, which it fills at the first time.
func findKernel(t *testing.T) kernel {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	cache = filepath.Join(cache, "hoy-test", "vm-"+modulesVersion)
	k := kernel{filepath.Join(cache, "vmlinux"), filepath.Join(cache, "modules.cpio")}
	if _, err := os.Stat(k.modules); err == nil {
		return k
	}
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		t.Fatal(err)
	}
	// The whole directory is put in place in one step: other tests may be waiting for it.
	work, err := os.MkdirTemp(filepath.Dir(cache), "making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	if err := makeKernel(work); err != nil {
		t.Fatalf("cannot prepare the kernel for the tests on cgroup v2: %v", err)
	}
	if err := os.Rename(filepath.Join(work, "out"), cache); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return k
}

// makeKernel fills work/out from Debian's package.
func makeKernel(work string) error {
	deb, err := download(work)
	if err != nil {
		return err
	}
	tree, out := filepath.Join(work, "tree"), filepath.Join(work, "out")
	if err := run(work, "dpkg-deb", "-x", deb, tree); err != nil {
		return err
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	images, _ := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
	trees, _ := filepath.Glob(filepath.Join(tree, "*/modules/*"))
	if len(trees) == 0 {
		trees, _ = filepath.Glob(filepath.Join(tree, "usr/lib/modules/*"))
	}
	if len(images) != 1 || len(trees) != 1 {
		return fmt.Errorf("%s has kernels %q and modules %q", filepath.Base(deb), images, trees)
	}
	if err := uncompress(images[0], filepath.Join(out, "vmlinux")); err != nil {
		return err
	}
	return packModules(trees[0], filepath.Join(out, "modules.cpio"))
}

// download has apt fetch the package that Debian's meta-package stands for.
func download(work string) (string, error) {
	for again := false; ; again = true {
		for _, meta := range kernelPackages() {
			b, _ := exec.Command("apt-cache", "depends", "--important", meta).Output()
			for line := range strings.Lines(string(b)) {
				name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: ")
				if !ok || !strings.HasPrefix(name, "linux-image-6.12") {
					continue
				}
				if err := run(work, "apt-get", "download", "-qq", name); err != nil {
					return "", err
				}
				if debs, _ := filepath.Glob(filepath.Join(work, name+"_*.deb")); len(debs) == 1 {
					return debs[0], nil
				}
			}
		}
		if again {
			return "", fmt.Errorf("this system's package lists have none of %q", kernelPackages())
		}
		if err := run(work, "apt-get", "update", "-qq"); err != nil {
			return "", err
		}
	}
}

func run(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir = dir
	if msg, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, msg)
	}
	return nil
}

// uncompress takes the ELF kernel out of a bzImage by the offsets in its header
// (Documentation/arch/x86/boot.rst), if it is packed with zstd as Debian does it.
// Otherwise the bzImage serves.
func uncompress(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(b) < 0x250 {
		return fmt.Errorf("%s is no kernel", from)
	}
	sectors := max(int(b[0x1f1]), 1)
	at := (sectors+1)*512 + int(binary.LittleEndian.Uint32(b[0x248:]))
	size := int(binary.LittleEndian.Uint32(b[0x24c:]))
	if size < 8 || at+size > len(b) || binary.LittleEndian.Uint32(b[at:]) != 0xfd2fb528 {
		return os.WriteFile(to, b, 0o644)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return err
	}
	defer d.Close()
	elf, err := d.DecodeAll(b[at:at+size-4], nil) // the size of the kernel follows
	if err != nil {
		return fmt.Errorf("cannot uncompress %s: %w", from, err)
	}
	return os.WriteFile(to, elf, 0o644)
}
