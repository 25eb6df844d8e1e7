// Package usage lets a program say that its help could not be written: kingpin panics
// on that error, or ignores it.
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
