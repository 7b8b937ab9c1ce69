package netlink

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dump calls list again as long as what it lists changes meanwhile: the kernel then says
// that the list may be incomplete (NLM_F_DUMP_INTR, netlink(7)).
func dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range 20 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
