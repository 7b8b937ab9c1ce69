package buildfiles

import "io/fs"

// A folder that is built from for the first time is fetched whole, file after file: to wait
// for each would take most of the time. When several files in a row have been opened, the
// next ones are fetched before anybody asks.
const (
	inARow     = 4        // files, from which on that is done
	nearby     = 8        // how far files that are opened side by side are out of order
	aheadFiles = 128      // most that are fetched and not opened
	aheadBytes = 4 << 20  // and most of what they have
	aheadEach  = 64 << 10 // larger ones are not
)

// run is how a folder is being read.
type run struct {
	at      int // place in the listing up to which it was opened or fetched ahead
	last    int // of the file opened last
	inARow  int
	files   int // fetched and not opened
	bytes   int64
	waiting map[int]*incoming // by place
}

// opened notes that a file is opened, and returns what was fetched of it.
func (r *run) opened(i int, size int64) *incoming {
	switch {
	case i > r.last && i <= r.last+nearby:
		r.inARow, r.last = r.inARow+1, i
	case i > r.last || i < r.last-nearby:
		r.inARow, r.last = 0, i
	}
	in := r.waiting[i]
	if in != nil {
		delete(r.waiting, i)
		r.files, r.bytes = r.files-1, r.bytes-size
	}
	return in
}

// next are the places of files to be fetched ahead. What was fetched and is behind what is
// read now was not wanted, and is forgotten.
func (r *run) next(l *Listing) (places []int) {
	if r.inARow < inARow {
		return nil
	}
	if r.files > aheadFiles/2 && r.bytes < aheadBytes/2 {
		return nil // many at a time
	}
	for i, in := range r.waiting {
		if i < r.last-nearby {
			in.Close()
			delete(r.waiting, i)
			r.files, r.bytes = r.files-1, r.bytes-l.Entries[i].Size
		}
	}
	r.at = max(r.at, r.last+1)
	for ; r.at < len(l.Entries) && r.files < aheadFiles && r.bytes < aheadBytes; r.at++ {
		e := &l.Entries[r.at]
		if !fs.FileMode(e.Mode).IsRegular() || e.Link != "" || e.Size > aheadEach {
			continue
		}
		r.files, r.bytes = r.files+1, r.bytes+e.Size
		places = append(places, r.at)
	}
	return places
}
