package runtime

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// elfInterpreter reads the interpreter's name from the first bytes of an ELF file
// (elf(5)): the program headers follow the file's, and the name is near.
func elfInterpreter(b []byte) string {
	if len(b) < 64 || !bytes.HasPrefix(b, []byte(elf.ELFMAG)) || elf.Class(b[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return ""
	}
	order := binaryOrder(b)
	at, size, n := order.Uint64(b[32:]), uint64(order.Uint16(b[54:])), int(order.Uint16(b[56:]))
	for range n {
		if size < 56 || at > uint64(len(b)) || uint64(len(b))-at < size {
			return ""
		}
		p := b[at:]
		at += size
		if elf.ProgType(order.Uint32(p)) != elf.PT_INTERP {
			continue
		}
		off, length := order.Uint64(p[8:]), order.Uint64(p[32:])
		if off > uint64(len(b)) || uint64(len(b))-off < length {
			return ""
		}
		return string(bytes.TrimRight(b[off:off+length], "\x00"))
	}
	return ""
}

func binaryOrder(b []byte) binary.ByteOrder {
	if elf.Data(b[elf.EI_DATA]) == elf.ELFDATA2MSB {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// machineName is the name that images use for a processor.
func machineName(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_386:
		return "386"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_PPC64:
		return "ppc64le"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_MIPS:
		return "mips"
	case elf.EM_LOONGARCH:
		return "loong64"
	}
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}
