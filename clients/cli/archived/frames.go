package archived

import (
	"errors"
	"fmt"
	"io"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// appendAtOnce is about how many bytes are given to a mirror together.
const appendAtOnce = 1 << 20

// appendFrames appends whole frames, from an offset of a segment on.
func appendFrames(mirror *seglog.Mirror, r io.Reader, offset int64) error {
	var buffer []byte
	if offset == 0 {
		buffer = make([]byte, segment.HeaderSize)
		if _, err := io.ReadFull(r, buffer); err != nil {
			return fmt.Errorf("file header: %w", err)
		}
	}
	for {
		var err error
		buffer, err = readFrame(r, buffer)
		if err != nil || len(buffer) >= appendAtOnce {
			// What comes before a damaged frame is good.
			if appended := appendAll(mirror, offset, buffer); appended != nil {
				return appended
			}
			offset += int64(len(buffer))
			buffer = buffer[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("offset %d: %w", offset, err)
		}
	}
}

func appendAll(mirror *seglog.Mirror, offset int64, frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	return mirror.Append(uint64(offset), frames)
}

// readFrame appends the next frame to a buffer. At the end the error is io.EOF.
func readFrame(r io.Reader, buffer []byte) ([]byte, error) {
	n := len(buffer)
	buffer = append(buffer, make([]byte, segment.FrameHeaderSize)...)
	if _, err := io.ReadFull(r, buffer[n:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = segment.ErrShort
		}
		return buffer[:n], err
	}
	h, err := segment.ParseFrameHeader(buffer[n:])
	if err != nil {
		return buffer[:n], err
	}
	payload := len(buffer)
	buffer = append(buffer, make([]byte, h.PayloadLen)...)
	if _, err := io.ReadFull(r, buffer[payload:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = segment.ErrShort
		}
		return buffer[:n], fmt.Errorf("payload: %w", err)
	}
	if err := h.VerifyPayload(buffer[payload:]); err != nil {
		return buffer[:n], err
	}
	return buffer, nil
}
