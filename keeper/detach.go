package keeper

// detacher finds a sequence of keys in a client's input, which then detaches.
type detacher struct {
	keys []byte
	have int // of keys, seen and held back
}

// newDetacher looks for keys; none means ctrl-p ctrl-q.
func newDetacher(keys []byte) *detacher {
	if len(keys) == 0 {
		keys = []byte{'p' & 0x1f, 'q' & 0x1f}
	}
	return &detacher{keys: keys}
}

// filter returns what of in goes to the process: all but the keys, and but what may
// become the keys, which it holds back until the next input decides.
func (d *detacher) filter(in []byte) (out []byte, detached bool) {
	if d.have == 0 && !d.starts(in) {
		return in, false
	}
	for _, c := range in {
		for d.have > 0 && c != d.keys[d.have] {
			// Not the keys after all. The held ones go on, but for a tail of them
			// that may itself be a beginning.
			keep := d.border(d.have)
			out = append(out, d.keys[:d.have-keep]...)
			d.have = keep
		}
		if c != d.keys[d.have] {
			out = append(out, c)
			continue
		}
		if d.have++; d.have == len(d.keys) {
			d.have = 0
			return out, true
		}
	}
	return out, false
}

func (d *detacher) starts(in []byte) bool {
	for _, c := range in {
		if c == d.keys[0] {
			return true
		}
	}
	return false
}

// border is the length of the longest proper beginning of keys[:n] that also ends it.
func (d *detacher) border(n int) int {
	for k := n - 1; k > 0; k-- {
		if string(d.keys[:k]) == string(d.keys[n-k:n]) {
			return k
		}
	}
	return 0
}
