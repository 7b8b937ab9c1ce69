package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hoy/lib/atomicfile"
	"hoy/lib/fault"
)

// On disk, in the exec root:
//
//	keeper.pid         locked by the keeper while it lives
//	keeper.sock        the protocol
//	keeper.log         what the keeper has to complain about
//	keeper/<id>.json   a process, from before its clone to its exit record
//	io/<id>/{1,2}      its FIFOs of output
//	io/<id>/journal    see journal
//	io/<id>/shipped    see shipMark
//	io/<id>/log        the log, when it is only a buffer
//	exits/<id>.json    an exit that the engine has not acknowledged
//
// A state file starts with numbers of fixed width, so that the pid can be put in
// after the clone by one write. It is whole before the clone; a file that is not
// valid JSON is of a process that never was.
const stateFormat = `{"pid":%10d,"inode":%20d,"startTime":%20d,"startedAt":%20d,"input":%20d,`

// state is the content of a state file.
type state struct {
	Pid       int    `json:"pid"`       // 0: not cloned, or nobody lived to write it down
	Inode     uint64 `json:"inode"`     // of the pidfd, which no other process ever has
	StartTime uint64 `json:"startTime"` // of /proc/<pid>/stat, on kernels without such inodes (before 6.9)
	StartedAt int64  `json:"startedAt"` // Unix nanoseconds
	Input     uint64 `json:"input"`     // inode of the pipe of standard input; 0: there is none, or it has ended
	config
}

// config is what a process was asked for.
type config struct {
	ID         string     `json:"id"`
	Generation uint64     `json:"generation"`
	Terminal   bool       `json:"terminal,omitempty"`
	OpenStdin  bool       `json:"openStdin,omitempty"`
	StdinOnce  bool       `json:"stdinOnce,omitempty"`
	Tied       bool       `json:"tied,omitempty"`
	Log        *LogConfig `json:"log,omitempty"`
}

func (s *state) head() []byte {
	return fmt.Appendf(nil, stateFormat, s.Pid, s.Inode, s.StartTime, s.StartedAt, s.Input)
}

func statePath(root, id string) string { return filepath.Join(root, "keeper", id+".json") }
func exitPath(root, id string) string  { return filepath.Join(root, "exits", id+".json") }

// createState writes the state before the clone; the file is for setPid.
func createState(root string, s *state) (*os.File, error) {
	rest, err := json.Marshal(s.config)
	if err != nil {
		return nil, fmt.Errorf("cannot write state of %s: %w", s.ID, err)
	}
	f, err := os.OpenFile(statePath(root, s.ID), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write state: %w", err)
	}
	if _, err := f.Write(append(s.head(), rest[1:]...)); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, fmt.Errorf("cannot write state: %w", err)
	}
	return f, nil
}

// setPid completes the state after the clone and closes f.
func (s *state) setPid(f *os.File) error {
	_, err := f.WriteAt(s.head(), 0)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// loadStates reads every state file; those of processes that never were are removed.
func loadStates(root string) ([]*state, error) {
	var ss []*state
	err := eachRecord(filepath.Join(root, "keeper"), func(path string, b []byte) {
		s := new(state)
		if json.Unmarshal(b, s) != nil || checkID(s.ID) != nil || statePath(root, s.ID) != path {
			os.Remove(path)
			return
		}
		ss = append(ss, s)
	})
	return ss, err
}

func saveExit(root string, e *Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return atomicfile.Write(exitPath(root, e.ID), b, 0o600)
}

func loadExits(root string) ([]*Exit, error) {
	var es []*Exit
	err := eachRecord(filepath.Join(root, "exits"), func(path string, b []byte) {
		e := new(Exit)
		if json.Unmarshal(b, e) != nil || checkID(e.ID) != nil || exitPath(root, e.ID) != path {
			os.Remove(path)
			return
		}
		es = append(es, e)
	})
	return es, err
}

func eachRecord(dir string, f func(path string, b []byte)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read records: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") { // of atomicfile, interrupted
			os.Remove(path)
			continue
		}
		if b, err := os.ReadFile(path); err == nil {
			f(path, b)
		}
	}
	return nil
}

// checkID makes sure that id is harmless as a file name.
func checkID(id string) error {
	ok := id != "" && len(id) <= 128 && id[0] != '.'
	for _, c := range []byte(id) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-' || c == '.')
	}
	if !ok {
		return fault.New(fault.Invalid, "invalid process id %q: letters, digits, '_', '-' and '.' only", id)
	}
	return nil
}

// makeDirs makes the directories of the exec root that the keeper uses.
func makeDirs(root string) error {
	for _, d := range []string{"keeper", "io", "exits"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			return fmt.Errorf("cannot prepare exec root: %w", err)
		}
	}
	return nil
}
