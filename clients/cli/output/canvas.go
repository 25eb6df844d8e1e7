package output

import "strings"

// canvas is a grid of characters to draw lines on: each character has eight dots, as in
// braille, or one, for which it has the letter of the line.
type canvas struct {
	width, height int // in characters
	across, down  int // dots of a character
	dots          []byte
	owner         []int // number of the line on top, by character, -1 for none
}

func newCanvas(width, height int, braille bool) *canvas {
	c := &canvas{width: width, height: height, across: 1, down: 1, dots: make([]byte, width*height), owner: make([]int, width*height)}
	if braille {
		c.across, c.down = 2, 4
	}
	for i := range c.owner {
		c.owner[i] = -1
	}
	return c
}

// brailleDots are the bits of a braille character, by row and column.
var brailleDots = [4][2]byte{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// dot draws one. What is outside is cut off. The line that is drawn last is on top.
func (c *canvas) dot(x, y, line int) {
	if x < 0 || y < 0 || x >= c.width*c.across || y >= c.height*c.down {
		return
	}
	cell := y/c.down*c.width + x/c.across
	c.dots[cell] |= brailleDots[y%c.down][x%c.across]
	c.owner[cell] = line
}

// line draws one from dot to dot.
func (c *canvas) line(x0, y0, x1, y1, line int) {
	dx, dy := abs(x1-x0), -abs(y1-y0)
	sx, sy := sign(x1-x0), sign(y1-y0)
	for e := dx + dy; ; {
		c.dot(x0, y0, line)
		if x0 == x1 && y0 == y1 {
			return
		}
		twice := 2 * e
		if twice >= dy {
			e += dy
			x0 += sx
		}
		if twice <= dx {
			e += dx
			y0 += sy
		}
	}
}

func abs(n int) int { return max(n, -n) }

func sign(n int) int { return min(1, max(-1, n)) }

// letters tell lines apart where colours do not.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// letter returns that of a line. After all others, lines share one.
func letter(line int) byte {
	if line < len(letters) {
		return letters[line]
	}
	return '*'
}

// row returns a row as text, with colours as marks if there are any.
func (c *canvas) row(y int, colour bool) string {
	var b strings.Builder
	current := ""
	for x := range c.width {
		cell := y*c.width + x
		style := ""
		if colour && c.owner[cell] >= 0 {
			style = colourOf(c.owner[cell])
		}
		if style != current {
			if current != "" {
				b.WriteString(plain)
			}
			b.WriteString(style)
			current = style
		}
		switch {
		case c.owner[cell] < 0:
			b.WriteByte(' ')
		case c.down > 1:
			b.WriteRune(0x2800 + rune(c.dots[cell]))
		default:
			b.WriteByte(letter(c.owner[cell]))
		}
	}
	if current != "" {
		b.WriteString(plain)
	}
	return b.String()
}
