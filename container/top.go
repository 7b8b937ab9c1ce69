package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/lib/fault"
	"hoy/linux/proc"
)

// Top lists the processes of a container, with the columns that ps(1) shows for the
// options; none is -ef. No ps is run: the machine may have none.
func (c *Containers) Top(ctx context.Context, ref, options string) (*apicontainer.TopResponse, error) {
	columns, err := parsePS(options)
	if err != nil {
		return nil, err
	}
	k, err := c.index.get(ref)
	if err != nil {
		return nil, err
	}
	p, err := k.running()
	if err != nil {
		return nil, err
	}
	pids, err := p.cgroup.Procs()
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes of container %s: %w", k.id, err)
	}
	boot, err := proc.Boot()
	if err != nil {
		return nil, err
	}
	r := &apicontainer.TopResponse{Titles: columns.titles(), Processes: [][]string{}}
	s := &psScene{now: time.Now(), boot: boot, memory: proc.Memory(), names: map[uint32]string{}}
	for _, pid := range pids {
		p, err := proc.Read(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just ended
		}
		if err != nil {
			return nil, err
		}
		r.Processes = append(r.Processes, columns.row(s, p))
	}
	c.event(k, events.ActionTop)
	return r, nil
}

// psColumns are columns of ps by keyword, with their titles.
type psColumns []struct{ keyword, title string }

func (l psColumns) titles() []string {
	var t []string
	for _, c := range l {
		t = append(t, c.title)
	}
	return t
}

func (l psColumns) row(s *psScene, p *proc.Process) []string {
	var r []string
	for _, c := range l {
		r = append(r, s.value(c.keyword, p))
	}
	return r
}

// add appends keywords in ps' format: divided by commas or spaces, a title after "=".
func (l *psColumns) add(list string) error {
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		keyword, title, titled := strings.Cut(f, "=")
		known := psTitle(keyword)
		if known == "" {
			return fault.New(fault.Invalid, "ps: unknown user-defined format specifier %q", keyword)
		}
		if !titled {
			title = known
		} else if keyword != "pid" && strings.HasPrefix(title, "PID") {
			return fault.New(fault.Invalid, `specifying "%s=%s" is not allowed`, keyword, title)
		}
		*l = append(*l, struct{ keyword, title string }{keyword, title})
	}
	return nil
}

// parsePS reads options of ps: those that choose processes make no difference, since
// a container's are all shown.
func parsePS(options string) (psColumns, error) {
	if strings.TrimSpace(options) == "" {
		options = "-ef"
	}
	p := psParser{words: strings.Fields(options)}
	for len(p.words) > 0 && p.err == nil {
		word := p.words[0]
		p.words = p.words[1:]
		cluster, unix := strings.CutPrefix(word, "-")
		if word == "-aux" {
			unix = false // as ps takes it
		}
		p.cluster(cluster, unix)
	}
	if p.err != nil {
		return nil, p.err
	}
	if p.chosen == nil {
		style := p.style
		if style == "" {
			style = "pid tty time cmd"
		}
		p.err = p.chosen.add(style)
	}
	for _, c := range p.chosen {
		if c.title == "PID" {
			return p.chosen, p.err
		}
	}
	return nil, fault.New(fault.Invalid, "Couldn't find PID field in ps output")
}

type psParser struct {
	words  []string
	style  string    // columns of a predefined format
	chosen psColumns // by o
	err    error
}

// cluster reads the letters of one word.
func (p *psParser) cluster(letters string, unix bool) {
	for i, l := range letters {
		switch {
		case l == 'o':
			list := letters[i+1:]
			if list == "" && len(p.words) > 0 {
				list, p.words = p.words[0], p.words[1:]
			}
			if p.err = p.chosen.add(list); p.err == nil && list == "" {
				p.err = fault.New(fault.Invalid, "ps: option o needs a list of columns, like pid,user,args")
			}
			return
		case strings.ContainsRune("aw", l), unix && strings.ContainsRune("eAd", l):
		case unix && l == 'f':
			p.style = "uname=UID pid ppid c stime tty time cmd"
		case unix && l == 'j':
			p.style = "pid pgid sid tty time cmd"
		case !unix && l == 'x':
			if p.style == "" {
				p.style = "pid tty stat bsdtime=TIME args"
			}
		case !unix && l == 'u':
			p.style = "user pid %cpu %mem vsz rss tty stat start_time bsdtime=TIME args"
		case !unix && l == 'j':
			p.style = "ppid pid pgid sid tty tpgid stat uid bsdtime=TIME args"
		default:
			p.err = fault.New(fault.Invalid, "ps: option %q is not supported: there are -e -A -f -j -o, and a x u j o w without dash", string(l))
			return
		}
	}
}

// userName is the name of a user on this machine, which is not the container's, or
// the number.
func (s *psScene) userName(uid uint32) string {
	name, ok := s.names[uid]
	if !ok {
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		s.names[uid] = name
	}
	return name
}
