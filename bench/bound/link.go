package bound

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
)

// A frame is its length and as many bytes. It is answered with one byte.
const (
	lengthSize = 4
	frameMax   = 64 << 20
)

// exchange sends a frame, which has room for its length at its beginning, and
// waits for the answer.
func exchange(conn net.Conn, frame []byte) error {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-lengthSize))
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, frame[:1])
	return err
}

// answer answers a frame.
func answer(conn net.Conn) error {
	_, err := conn.Write([]byte{0})
	return err
}

// receive reads a frame into buf, in one read where it has all come, and
// returns it with its length. No frame follows before the answer.
func receive(conn io.Reader, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], 4<<10)
	for want := lengthSize; len(buf) < want; {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, err
		}
		if want == lengthSize && len(buf) >= lengthSize {
			size := binary.LittleEndian.Uint32(buf)
			if size > frameMax {
				return buf, fmt.Errorf("a frame of %d bytes", size)
			}
			want += int(size)
			buf = slices.Grow(buf, want-len(buf))
		}
	}
	return buf, nil
}

// closed leaves out of the errors that a peer has ended.
func closed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
