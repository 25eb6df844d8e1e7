package output

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Styles of a terminal, as marks in what goes to its writer: bytes that no text
// has. What forges one is bold, and nothing worse.
const (
	bold  = "\xf8"
	faint = "\xf9"
	plain = "\xfa"
)

var styles = map[string]string{bold: "\x1b[1m", faint: "\x1b[2m", plain: "\x1b[0m"}

// VisibleWriter writes to a terminal what others have a part in: label values,
// help texts, the words of servers. Characters that would steer the terminal, or
// the order in which text is read, are escaped. Line breaks and tabs are let
// through.
type VisibleWriter struct {
	colour bool

	mu   sync.Mutex
	w    io.Writer
	held []byte // the beginning of a character whose end is yet to come
	out  []byte
}

// NewVisibleWriter writes to the terminal w, with styles if there is to be colour.
func NewVisibleWriter(w io.Writer, colour bool) *VisibleWriter {
	return &VisibleWriter{w: w, colour: colour}
}

// Write holds the beginning of a character back until its end has come.
func (v *VisibleWriter) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = append(v.held, b...)
	whole := len(v.held) - unfinished(v.held)
	err := v.write(v.held[:whole])
	v.held = append(v.held[:0], v.held[whole:]...)
	return len(b), err
}

// Finish writes what is held back, whose end did not come.
func (v *VisibleWriter) Finish() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.held) == 0 {
		return nil
	}
	err := v.write(v.held)
	v.held = v.held[:0]
	return err
}

func (v *VisibleWriter) write(b []byte) error {
	v.out = v.out[:0]
	for len(b) > 0 {
		style := styles[string(b[:1])]
		r, size := utf8.DecodeRune(b)
		switch {
		case v.colour && style != "":
			v.out = append(v.out, style...)
		case r == '\n' || r == '\t':
			v.out = append(v.out, byte(r))
		default:
			v.out = appendVisible(v.out, r, b[:size])
		}
		b = b[size:]
	}
	_, err := v.w.Write(v.out)
	if errors.Is(err, syscall.EIO) {
		return ErrReaderGone // a terminal that hung up
	}
	return err
}

// unfinished is the length of the character at the end of b that is cut off.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// visible is a text that does nothing to a terminal and has one line.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || steers(r) }) {
		return s
	}
	var b []byte
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		b = appendVisible(b, r, []byte(s[:size]))
		s = s[size:]
	}
	return string(b)
}

// appendVisible appends a character. What steers is written as JSON and most
// languages do, so that JSON stays what it is.
func appendVisible(b []byte, r rune, encoded []byte) []byte {
	const short = "\b\f\n\r\t"
	switch {
	case r == utf8.RuneError && len(encoded) == 1:
		return fmt.Appendf(b, `\x%02x`, encoded[0])
	case !steers(r):
		return append(b, encoded...)
	case strings.ContainsRune(short, r):
		return append(b, '\\', "bfnrt"[strings.IndexRune(short, r)])
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// steers tells whether a character has no look of its own: a control, a mark of
// the direction, what joins or takes no width, or a separator of lines.
func steers(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
