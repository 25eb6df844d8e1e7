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

// Styles of a terminal, as marks in what is written to a VisibleWriter: bytes that
// UTF-8 never has. Text that forges one gets bold or a colour, and
// nothing worse.
const (
	bold  = "\xf8"
	faint = "\xf9"
	plain = "\xfa"
)

var styles = map[string]string{
	bold: "\x1b[1m", faint: "\x1b[2m", plain: "\x1b[0m",
	"\xf5": "\x1b[36m", "\xf6": "\x1b[33m", "\xf7": "\x1b[32m", "\xfb": "\x1b[35m", "\xfc": "\x1b[34m", "\xfd": "\x1b[31m",
}

// colours are the marks of those, in an order that tells neighbours apart.
const colours = "\xf5\xf6\xf7\xfb\xfc\xfd"

// colourOf returns the colour of the nth thing.
func colourOf(n int) string { return colours[n%len(colours):][:1] }

// VisibleWriter writes to a terminal text that others supply: label values, help
// texts, messages of servers. It escapes characters that would control the terminal
// or the direction of reading. Line breaks and tabs pass.
type VisibleWriter struct {
	colour bool

	mu   sync.Mutex
	w    io.Writer
	held []byte // the start of a character whose rest is yet to come
	out  []byte
}

// NewVisibleWriter writes to the terminal w, with styles if colour is set.
func NewVisibleWriter(w io.Writer, colour bool) *VisibleWriter {
	return &VisibleWriter{w: w, colour: colour}
}

// Write holds back an incomplete character until its rest has come.
func (v *VisibleWriter) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = append(v.held, b...)
	whole := len(v.held) - unfinished(v.held)
	err := v.write(v.held[:whole])
	v.held = append(v.held[:0], v.held[whole:]...)
	return len(b), err
}

// Finish writes what is still held back.
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

// unfinished returns the length of an incomplete character at the end of b.
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

// visible escapes a text so that it controls no terminal and has one line.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || controls(r) }) {
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

// appendVisible appends a character. Control characters are escaped as in JSON, so
// that JSON stays what it is.
func appendVisible(b []byte, r rune, encoded []byte) []byte {
	const short = "\b\f\n\r\t"
	switch {
	case r == utf8.RuneError && len(encoded) == 1:
		return fmt.Appendf(b, `\x%02x`, encoded[0])
	case !controls(r):
		return append(b, encoded...)
	case strings.ContainsRune(short, r):
		return append(b, '\\', "bfnrt"[strings.IndexRune(short, r)])
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// controls reports whether a character has no look of its own: a control, a mark of
// direction, a joiner, one without width, or a line separator.
func controls(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
