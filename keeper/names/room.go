package names

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// room is how many files may be open at a time for questions of all containers: no
// container shall use up what starts and logs of others need.
type room struct {
	most atomic.Int64
	used atomic.Int64
}

const mostFiles = 8192

// newRoom is a quarter of the files that the program may open, or mostFiles.
func newRoom() *room {
	r := new(room)
	r.most.Store(mostFiles)
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur/4 < mostFiles {
		r.most.Store(int64(limit.Cur / 4))
	}
	return r
}

// enter takes a place, if there is one.
func (r *room) enter() bool {
	if r.used.Add(1) > r.most.Load() {
		r.used.Add(-1)
		return false
	}
	return true
}

func (r *room) leave() { r.used.Add(-1) }
