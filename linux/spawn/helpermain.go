package spawn

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hoy/lib/thread"
)

// What passes between a Helper and its process, over a SOCK_SEQPACKET socket, which
// are always the same program. Numbers are little-endian.
//
//	request    | files (4) | stdio (4) | deadline in ns (8) |
//	           with the descriptors of the plan and of each bit set in stdio;
//	           then, if files > 0, one more message of one byte with the files
//	reply      | pid (4) | gone (4) | gone (4) | failed (4) | index (4) | errno (4) | killed (4) | text |
//	           failed: 0 pid has exec'ed; 1 a step failed; 2 see text
//
// pid and gone, if not 0, are processes that the one who asked has to reap.
const (
	helperSocket = 3 // in the helper process
	requestSize  = 16
	replySize    = 28
	maxReply     = replySize + 512
)

type request struct {
	files    int
	stdio    uint32
	deadline time.Duration
}

func (r request) encode() []byte {
	b := le.AppendUint32(nil, uint32(r.files))
	b = le.AppendUint32(b, r.stdio)
	return le.AppendUint64(b, uint64(r.deadline))
}

type reply struct {
	pid  int
	gone [2]int // the intermediate processes
	err  *StepError
	text string // of an error that is no failed step
}

func (r reply) encode() []byte {
	b := le.AppendUint32(nil, uint32(r.pid))
	b = le.AppendUint32(b, uint32(r.gone[0]))
	b = le.AppendUint32(b, uint32(r.gone[1]))
	failed, killed, step := uint32(0), uint32(0), StepError{}
	switch {
	case r.text != "":
		failed = 2
	case r.err != nil:
		failed, step = 1, *r.err
		if step.Killed {
			killed = 1
		}
	}
	for _, v := range []uint32{failed, uint32(step.Index), uint32(step.Errno), killed} {
		b = le.AppendUint32(b, v)
	}
	return append(b, r.text[:min(len(r.text), maxReply-replySize)]...)
}

func decodeReply(b []byte) (reply, error) {
	if len(b) < replySize {
		return reply{}, fmt.Errorf("a reply of %d bytes", len(b))
	}
	word := func(i int) int { return int(int32(le.Uint32(b[4*i:]))) }
	r := reply{pid: word(0), gone: [2]int{word(1), word(2)}}
	switch word(3) {
	case 0:
	case 1:
		r.err = &StepError{Index: word(4), Errno: unix.Errno(word(5)), Killed: word(6) != 0}
	default:
		r.text = string(b[replySize:])
	}
	return r, nil
}

// HelperMain is the main function of a helper process. It returns the exit code, when
// the process that started it closes its socket.
func HelperMain() int {
	// Not even a container that sees this process may read its memory, unless it
	// holds CAP_SYS_PTRACE in the first user namespace.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot be undumpable:", err)
		return 1
	}
	// The first timer makes the scheduler's epoll descriptor, which all threads use by
	// its number: it has to be there before one of them gets a table of its own.
	time.AfterFunc(time.Hour, func() {}).Stop()
	for {
		b := make([]byte, requestSize)
		n, fds, err := receive(b)
		if err != nil || n == 0 {
			closeAll(fds)
			return 0 // the one who could be told is gone
		}
		if err := unix.Sendmsg(helperSocket, serve(b[:n], fds).encode(), nil, nil, unix.MSG_NOSIGNAL); err != nil {
			return 0
		}
	}
}

func receive(b []byte) (n int, files []*os.File, err error) {
	oob := make([]byte, unix.CmsgSpace(4*(MaxFiles+4)))
	var oobn int
	for {
		n, oobn, _, _, err = unix.Recvmsg(helperSocket, b, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return n, files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return n, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// serve runs one request.
func serve(b []byte, first []*os.File) reply {
	defer closeAll(first)
	if len(b) != requestSize || len(first) == 0 {
		return reply{text: "malformed request to a spawn helper"}
	}
	req := request{int(le.Uint32(b)), le.Uint32(b[4:]), time.Duration(le.Uint64(b[8:]))}
	var std [3]*os.File
	rest := first[1:]
	for i := range std {
		if req.stdio>>i&1 != 0 && len(rest) > 0 {
			std[i], rest = rest[0], rest[1:]
		}
	}
	var files []*os.File
	if req.files > 0 {
		var err error
		if _, files, err = receive(make([]byte, 1)); err != nil {
			return reply{text: err.Error()}
		}
		defer closeAll(files)
	}
	p, err := Load(first[0], files, std)
	if err != nil {
		return reply{text: err.Error()}
	}
	if !p.head.exposed {
		p.Close()
		return reply{text: "the plan given to a spawn helper is not an exposed one"}
	}
	return p.startHidden(req.deadline)
}

// startHidden runs the program on a thread whose table of descriptors lacks the
// socket: no child has a way to the helper's parent.
func (p *Program) startHidden(deadline time.Duration) reply {
	done := make(chan outcome, 1)
	failed := make(chan error, 1)
	p.lost = make(chan outcome, 1)
	go thread.Run(func() {
		defer p.Close()
		if err := errors.Join(unix.Unshare(unix.CLONE_FILES), unix.Close(helperSocket)); err != nil {
			failed <- err
			return
		}
		// Its exit signal is the helper's: CLONE_PARENT allows no other.
		done <- p.run(deadline, unix.CLONE_PARENT, 0)
	})
	var o outcome
	select {
	case err := <-failed:
		return reply{text: fmt.Sprintf("cannot hide the helper's socket: %v", err)}
	case o = <-done:
	case o = <-p.lost:
	}
	r := reply{pid: o.pid, err: o.err}
	copy(r.gone[:], o.gone)
	return r
}
