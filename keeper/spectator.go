package keeper

import (
	"golang.org/x/sys/unix"
)

// Clients that are there from the start are the two ends of the process's pipes: one
// that does not read holds it up, as a pipe does. Those that attach later are
// spectators. What a spectator does not take at once waits in memory, and one that is
// too far behind is cut off: it never holds up the process or another client.

// maxBehind is how many bytes a spectator may be behind.
const maxBehind = 1 << 20

// show gives a spectator what it takes at once of b, of which it has n bytes; the rest
// waits. false: it is cut off. The caller holds mu.
func (v *viewer) show(fd int, b []byte, n int, number uint32) bool {
	n += v.tryWrite(fd, b[n:], n, number)
	if n == len(b) {
		if v.mark != nil && number != 0 {
			v.mark.done[fd-1].Store(number)
		}
		return true
	}
	if len(v.rest)+len(b)-n > maxBehind {
		return false
	}
	// No later keeper would have what waits here, so the connection ends with this one.
	if v.mark != nil {
		v.mark.free()
		v.mark = nil
	}
	v.letGo()
	v.rest = append(v.rest, b[n:]...)
	if !v.behind && !v.end {
		v.behind = true
		go v.catchUp()
	}
	return true
}

// letGo lets the engine close its duplicate of the socket.
func (v *viewer) letGo() {
	if v.want.Client != 0 && !v.alone.Swap(true) {
		go v.p.s.tell(typeLetGo, letGoBody{v.p.ID, v.p.Generation, v.want.Client}, nil)
	}
}

// catchUp sends what waits, as the client takes it.
func (v *viewer) catchUp() {
	for more := true; more; {
		err := v.raw.Write(func(fd uintptr) (done bool) {
			done, more = v.sendRest(int(fd))
			return done
		})
		if err != nil {
			return // the process has ended: leave sends the rest
		}
	}
}

// sendRest returns false, true when the socket is full.
func (v *viewer) sendRest(fd int) (done, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.end {
		return true, false
	}
	n, err := unix.SendmsgN(fd, v.rest, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	switch err {
	case nil:
		v.rest = v.rest[n:]
	case unix.EAGAIN:
		return false, true
	case unix.EINTR:
	default: // the client has gone, which read sees
		v.rest = nil
	}
	if len(v.rest) == 0 {
		v.rest, v.behind = nil, false
	}
	return true, v.behind
}
