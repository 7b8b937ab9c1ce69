package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// canvas is the last lines of a terminal, which are drawn again and again.
type canvas struct {
	w    io.Writer
	size func() (rows, cols int)
	now  func() time.Time

	shown []string  // lines on the terminal that the next drawing replaces
	drawn time.Time // when that was
	err   error     // of writing
}

// often is how often a canvas is drawn: nobody reads more quickly.
const often = 100 * time.Millisecond

// window is the room for lines: the cursor stands below them, and a line that fills its
// row would make some terminals go on to the next.
func (c *canvas) window() (rows, cols int) {
	rows, cols = c.size()
	if rows <= 0 || cols <= 0 {
		rows, cols = 24, 80
	}
	return max(rows-1, 1), max(cols-1, 1)
}

// draw replaces the lines on the terminal by others, in one write.
func (c *canvas) draw(lines []string) {
	if c.err != nil {
		return
	}
	_, cols := c.size()
	up := 0
	for _, s := range c.shown {
		up++
		if cols > 0 { // a window made narrower since has broken it into several
			up += max(utf8.RuneCountInString(s)-1, 0) / cols
		}
	}
	var out strings.Builder
	if up > 0 {
		fmt.Fprintf(&out, "\r\x1b[%dA", up)
	}
	for _, s := range lines {
		out.WriteString(s + "\x1b[K\n")
	}
	if up > 0 {
		out.WriteString("\x1b[J")
	}
	if out.Len() > 0 {
		_, c.err = io.WriteString(c.w, out.String())
	}
	c.shown, c.drawn = lines, c.now()
}
