package docker

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// differences are those between hoy and the reference engine that are meant. In their
// file each is a line `SUBJECT/NAME: reason`, followed by the lines of the recorded
// transcript that are missing, each after "- ", and those that are there instead, each
// after "+ ": a hunk as compare shows it. `*` for SUBJECT/NAME is any scenario.
type differences struct {
	mu   sync.Mutex
	list []difference
	used []bool
}

type difference struct {
	scenario, reason string
	hunk             string
}

func readDifferences(path string) (*differences, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &differences{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "+ "):
			if len(d.list) == 0 {
				return nil, fmt.Errorf("%s: %q belongs to no scenario", path, line)
			}
			d.list[len(d.list)-1].hunk += line + "\n"
		default:
			scenario, reason, ok := strings.Cut(line, ": ")
			if !ok {
				return nil, fmt.Errorf("%s: %q is neither `SUBJECT/NAME: reason` nor a line of a hunk", path, line)
			}
			d.list = append(d.list, difference{scenario: scenario, reason: reason})
		}
	}
	d.used = make([]bool, len(d.list))
	return d, nil
}

// unused lists the differences that no scenario has shown.
func (d *differences) unused() (l []string) {
	if d == nil {
		return nil
	}
	for i, u := range d.used {
		if !u {
			l = append(l, d.list[i].scenario+": "+d.list[i].reason)
		}
	}
	return l
}

// compare returns an error that shows every hunk that is not allowed.
func (d *differences) compare(scenario, want, got string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var bad []string
	for _, h := range hunks(lines(want), lines(got)) {
		i := slices.IndexFunc(d.list, func(k difference) bool {
			return k.scenario == scenario && k.hunk == "" || (k.scenario == scenario || k.scenario == "*") && k.hunk == h.diff
		})
		if i < 0 {
			bad = append(bad, h.after+"\n"+h.diff)
			continue
		}
		d.used[i] = true
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("not what the reference engine shows:\n%s", strings.Join(bad, ""))
}

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
