package docker

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// differences are those between hoy and the reference that are meant: of the engine in
// differences.txt, of the command line in commandline.txt. Each is a line `SUBJECT/NAME: reason`, followed by the lines of the recorded
// transcript that are missing, each after "- ", and those that are there instead, each
// after "+ ": a hunk as compare shows it. `*` for SUBJECT/NAME is any scenario.
type differences struct {
	hoy  bool // hoy's command line has shown it
	mu   sync.Mutex
	list []difference
}

type difference struct {
	scenario, reason string
	hunk             string
	used             bool
}

// read adds those of a file. That some of them do not show is none of our business if
// another test cares.
func (d *differences) read(path string, cared bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "+ "):
			if len(d.list) == 0 {
				return fmt.Errorf("%s: %q belongs to no scenario", path, line)
			}
			d.list[len(d.list)-1].hunk += line + "\n"
		default:
			scenario, reason, ok := strings.Cut(line, ": ")
			if !ok {
				return fmt.Errorf("%s: %q is neither `SUBJECT/NAME: reason` nor a line of a hunk", path, line)
			}
			d.list = append(d.list, difference{scenario: scenario, reason: reason, used: cared})
		}
	}
	return nil
}

// unused lists the differences that no scenario has shown.
func (d *differences) unused() (l []string) {
	if d == nil {
		return nil
	}
	for _, k := range d.list {
		if !k.used {
			l = append(l, k.scenario+": "+k.reason)
		}
	}
	return l
}

// compare returns an error that shows every hunk that is not allowed.
func (d *differences) compare(scenario, want, got string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hoy {
		want, got = told(want), told(got)
	}
	var bad []string
	for _, h := range hunks(lines(want), lines(got)) {
		i := slices.IndexFunc(d.list, func(k difference) bool {
			same := k.hunk == h.diff || d.hoy && errorLines.ReplaceAllString(k.hunk, "$1 2> (why)\n") == h.diff
			return k.scenario == scenario && k.hunk == "" || (k.scenario == scenario || k.scenario == "*") && same
		})
		if i < 0 {
			bad = append(bad, h.after+"\n"+h.diff)
			continue
		}
		d.list[i].used = true
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("not what the reference engine shows:\n%s", strings.Join(bad, ""))
}

// told is a transcript in which a command that fails says only that it does. How it is
// told is the command line's own; what the engine says is compared by docker's.
func told(transcript string) string {
	var out, step []string
	end := func() {
		if n := len(step); n > 0 && strings.HasPrefix(step[n-1], "[exit ") {
			first := slices.IndexFunc(step, isError)
			step = slices.DeleteFunc(step, isError)
			if first >= 0 {
				step = slices.Insert(step, len(step)-1, "2> (why)")
			}
		}
		out, step = append(out, step...), nil
	}
	for _, l := range lines(transcript) {
		if strings.HasPrefix(l, "$ ") {
			end()
		}
		step = append(step, l)
	}
	end()
	return strings.Join(out, "\n")
}

// errorLines are those of a hunk.
var errorLines = regexp.MustCompile(`(?m)(?:^([-+]) 2>.*\n)+`)

func isError(line string) bool { return strings.HasPrefix(line, "2> ") || line == "2>" }

func lines(text string) []string {
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// hunk is a place where two texts differ, and the command whose output it is in.
type hunk struct{ after, diff string }

// hunks are the differences of two short texts, by their longest common subsequence.
func hunks(want, got []string) (l []hunk) {
	common := subsequence(want, got)
	var h hunk
	var minus, plus string
	command := ""
	end := func() {
		if h.diff = minus + plus; h.diff != "" {
			h.after = command
			l = append(l, h)
		}
		minus, plus = "", ""
	}
	i, j := 0, 0
	for i < len(want) || j < len(got) {
		switch {
		case i < len(want) && j < len(got) && want[i] == got[j]:
			end()
			if strings.HasPrefix(want[i], "$ ") {
				command = want[i]
			}
			i, j = i+1, j+1
		case j == len(got) || i < len(want) && common[i+1][j] >= common[i][j+1]:
			minus += "- " + want[i] + "\n"
			i++
		default:
			plus += "+ " + got[j] + "\n"
			j++
		}
	}
	end()
	return l
}

// subsequence is the table of lengths of the longest common subsequences of a[i:], b[j:].
func subsequence(a, b []string) [][]int {
	t := make([][]int, len(a)+1)
	for i := range t {
		t[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				t[i][j] = t[i+1][j+1] + 1
			} else {
				t[i][j] = max(t[i+1][j], t[i][j+1])
			}
		}
	}
	return t
}
