// Package usage is what a program says of its flags: a mistake in them, and help that
// could not be written, for which kingpin panics or which it ignores.
package usage

import "io"

// Writer writes until the first error, which it keeps. It is not safe for
// concurrent use.
type Writer struct {
	W   io.Writer
	Err error
}

// Write never fails.
func (u *Writer) Write(b []byte) (int, error) {
	if u.Err == nil {
		_, u.Err = u.W.Write(b)
	}
	return len(b), nil
}
