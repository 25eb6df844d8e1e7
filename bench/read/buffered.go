package read

import (
	"bufio"
	"errors"
	"io"
)

// buffered reads large pieces, and can tell when the first has come.
type buffered struct{ *bufio.Reader }

func newBuffered(r io.Reader) buffered { return buffered{bufio.NewReaderSize(r, 256<<10)} }

// fill waits for the first byte.
func (b buffered) fill() error {
	_, err := b.Peek(1)
	return err
}

// chunks yields whole lines, in pieces as large as they come.
func chunks(r io.Reader, yield func([]byte) error) error {
	buf := make([]byte, 256<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		end := kept + n
		cut := end
		for cut > 0 && buf[cut-1] != '\n' {
			cut--
		}
		if errors.Is(err, io.EOF) {
			cut = end
		}
		if cut > 0 {
			if err := yield(buf[:cut]); err != nil {
				return err
			}
			kept = copy(buf, buf[cut:end])
		} else {
			kept = end
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if kept == len(buf) {
			return bufio.ErrBufferFull
		}
	}
}
