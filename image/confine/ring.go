package confine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The plain stream goes to the child in chunks of memory that both share: the engine
// writes, the child can only read (F_SEAL_FUTURE_WRITE), so the bytes that were hashed
// are those that it gets.
const (
	chunkSize = 256 << 10
	chunks    = 8
)

// ring is the engine's side of that memory.
type ring struct {
	memfd *os.File
	mem   []byte
	free  []int // chunks that the child does not read
}

func newRing() (_ *ring, err error) {
	fd, err := unix.MemfdCreate("layer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("cannot share memory: %w", os.NewSyscallError("memfd_create", err))
	}
	r := &ring{memfd: os.NewFile(uintptr(fd), "layer")}
	if err := unix.Ftruncate(fd, chunks*chunkSize); err != nil {
		r.close()
		return nil, fmt.Errorf("cannot share memory: %w", os.NewSyscallError("ftruncate", err))
	}
	if r.mem, err = unix.Mmap(fd, 0, chunks*chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		r.close()
		return nil, fmt.Errorf("cannot share memory: %w", os.NewSyscallError("mmap", err))
	}
	const seals = unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		r.close()
		return nil, fmt.Errorf("cannot share memory read-only: %w", os.NewSyscallError("fcntl", err))
	}
	for i := range chunks {
		r.free = append(r.free, i)
	}
	return r, nil
}

func (r *ring) chunk(i int) []byte { return r.mem[i*chunkSize:][:chunkSize] }

// release takes back a chunk that the child says it has read.
func (r *ring) release(i int) error {
	if i < 0 || i >= chunks || len(r.free) == chunks {
		return errors.New("the confined process returns a chunk that it has not")
	}
	r.free = append(r.free, i)
	return nil
}

func (r *ring) close() {
	if r.mem != nil {
		unix.Munmap(r.mem)
	}
	r.memfd.Close()
}

// words is a file of fixed size for a child's last words.
func words() (*os.File, error) {
	fd, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "stderr")
	if err := unix.Ftruncate(fd, maxSaid); err != nil {
		f.Close()
		return nil, os.NewSyscallError("ftruncate", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}
