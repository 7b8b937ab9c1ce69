package progress

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
)

// measure is how far something is, as a line shows it.
type measure struct {
	current, total int64 // total 0: unknown
	unit           string
	hide           bool    // no counts
	more           bool    // the total will still grow
	rate           float64 // per second; 0: unknown
}

// leastBar and mostBar are the widths between which a bar tells something.
const leastBar, mostBar = 8, 40

// line puts a measure behind a text, in so many columns. Where they are few it leaves out
// the rate first, then the bar, the remaining time, and the counts.
func line(text string, m *measure, cols int) string {
	if m == nil {
		return cut(text, cols)
	}
	counts, rate, left := m.counts(), m.speed(), m.left()
	for _, parts := range [][]string{{"bar", counts, rate, left}, {"bar", counts, left}, {counts, left}, {counts}} {
		bar := parts[0] == "bar"
		if bar && m.total <= 0 {
			continue
		}
		s := text
		rest := ""
		for _, p := range parts {
			if p != "bar" && p != "" {
				rest += "  " + p
			}
		}
		room := cols - utf8.RuneCountInString(s) - len(rest) - len("  []")
		switch {
		case bar && room >= leastBar:
			return strings.TrimRight(s+"  ["+m.bar(min(room, mostBar))+"]"+rest, " ")
		case !bar && utf8.RuneCountInString(s)+len(rest) <= cols:
			return strings.TrimRight(s+rest, " ")
		}
	}
	return strings.TrimRight(cut(text, cols), " ")
}

func (m *measure) bar(width int) string {
	n := int(float64(width) * min(float64(m.current)/float64(m.total), 1))
	if n >= width {
		return strings.Repeat("=", width)
	}
	return strings.Repeat("=", n) + ">" + strings.Repeat(" ", width-n-1)
}

// counts has a width that changes seldom, so that what stands after it does not dance.
func (m *measure) counts() string {
	if m.hide {
		return ""
	}
	s := m.size(m.current)
	if m.total > 0 {
		s += "/" + m.size(m.total)
	}
	if m.more {
		s += "+"
	}
	return fmt.Sprintf("%-15s", s)
}

func (m *measure) size(n int64) string {
	if m.unit != "" {
		return fmt.Sprintf("%d %s", n, m.unit)
	}
	return units.HumanSizeWithPrecision(float64(n), 4)
}

func (m *measure) speed() string {
	if m.unit != "" {
		return ""
	}
	if m.rate <= 0 {
		return strings.Repeat(" ", 9)
	}
	return fmt.Sprintf("%-9s", units.HumanSizeWithPrecision(m.rate, 3)+"/s")
}

// left is the time that remains, if the rate stays.
func (m *measure) left() string {
	text := ""
	if m.rate > 0 && m.total > m.current && !m.more {
		text = duration(time.Duration(float64(m.total-m.current) / m.rate * float64(time.Second)))
	}
	return fmt.Sprintf("%-5s", text)
}

// duration is rounded as one reads it: 4s, 1m05s, 2h03m.
func duration(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 100*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return ">100h"
}

// cut shortens a text to so many columns.
func cut(text string, cols int) string {
	if utf8.RuneCountInString(text) <= cols {
		return text
	}
	r := []rune(text)
	return string(r[:max(cols, 0)])
}
