package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modulesVersion is part of the cache's name: change it with wanted.
const modulesVersion = "3"

// wanted are the modules that the tests need, beside those they depend on.
func wanted() []string {
	return strings.Fields(`crc32c_intel crc32c_generic overlay fuse loop tun veth bridge dummy
		nf_tables nf_conntrack nf_nat nft_ct nft_nat nft_masq nft_chain_nat nft_fib_inet nft_reject_inet nft_redir nft_limit
		macvlan ipvlan 8021q sctp br_netfilter nf_conntrack_netlink
		bfq null_blk ext4 quota_v2`)
}

// packModules writes the archive of the wanted modules in the tree, uncompressed, with
// the order in which to load them.
func packModules(tree, to string) error {
	r := &resolver{files: map[string]string{}, done: map[string]bool{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if i := strings.Index(d.Name(), ".ko"); err == nil && i > 0 {
			r.files[kernelName(d.Name()[:i])] = p
		}
		return err
	})
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil {
		return err
	}
	for f := range strings.FieldsSeq(string(b)) {
		r.builtin[kernelName(strings.TrimSuffix(filepath.Base(f), ".ko"))] = true
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	r.archive = newArchive(f)
	r.archive.device("dev/console", 5, 1) // PID 1's standard output
	for _, name := range wanted() {
		if err := r.add(name); err != nil {
			return err
		}
	}
	r.archive.add("modules/order", []byte(strings.Join(r.order, "\n")), 0o644)
	return r.archive.close()
}

// kernelName is a module's name as the kernel writes it.
func kernelName(s string) string { return strings.ReplaceAll(s, "-", "_") }

type resolver struct {
	files   map[string]string // by name
	builtin map[string]bool
	done    map[string]bool
	order   []string
	archive *archive
}

// add archives a module after those that it names in .modinfo. A soft dependency that
// is not there is not missed, nor is a module that this kernel does not have.
func (r *resolver) add(name string) error {
	name = kernelName(name)
	file, ok := r.files[name]
	if r.done[name] || r.builtin[name] || !ok {
		return nil
	}
	r.done[name] = true
	b, err := readModule(file)
	if err != nil {
		return err
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	info := f.Section(".modinfo")
	if info == nil {
		return fmt.Errorf("module %s has no information", name)
	}
	text, err := info.Data()
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(text), "\x00") {
		key, value, _ := strings.Cut(line, "=")
		if key == "softdep" {
			value = strings.TrimPrefix(value, "pre: ")
		}
		if key != "depends" && key != "softdep" {
			continue
		}
		for _, d := range strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == ' ' }) {
			if err := r.add(d); err != nil {
				return err
			}
		}
	}
	r.order = append(r.order, name)
	r.archive.add("modules/"+name+".ko", b, 0o644)
	return nil
}

func readModule(file string) ([]byte, error) {
	switch filepath.Ext(file) {
	case ".xz":
		return exec.Command("xz", "-dc", file).Output()
	case ".zst":
		return exec.Command("zstd", "-dc", file).Output()
	}
	return os.ReadFile(file)
}
