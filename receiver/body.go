package receiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/limit"
)

const (
	// trustLength is how much memory a body gets for its Content-Length alone.
	// What is longer grows as it arrives.
	trustLength = 1 << 20
	// firstStep is how much a body of unknown length gets.
	firstStep = 16 << 10
	// leastCharge is what a request counts for at least, since it costs more
	// than its body.
	leastCharge = 16 << 10
)

// body is a request's compressed body and its share of the budget.
type body struct {
	h     *handler
	data  *buffer.Buffer // Nil as long as the budget has given nothing.
	taken *limit.Hold
}

// release gives back what the body holds.
func (b *body) release() {
	b.h.metrics.inflightBytes.Sub(float64(b.taken.Held()))
	b.taken.Release()
	if b.data != nil {
		b.data.Release()
	}
}

// grow makes room for n bytes of the body if the budget has them.
func (b *body) grow(n int64) error {
	before := b.taken.Held()
	if err := b.taken.Resize(max(n, leastCharge)); err != nil {
		return b.h.overLimit(http.StatusServiceUnavailable, fmt.Errorf("too many requests under way: %w", err))
	}
	b.h.metrics.inflightBytes.Add(float64(b.taken.Held() - before))
	if b.data == nil {
		b.data = buffer.Get(int(n))
		return nil
	}
	b.data.Grow(int(n))
	return nil
}

// readBody reads the body up to the limit. Whatever it returns is to be released.
func (h *handler) readBody(w http.ResponseWriter, r *http.Request) (*body, error) {
	b := &body{h: h, taken: h.budget.Hold("")}
	most := int64(h.config.RequestBytes)
	if r.ContentLength > most {
		return b, h.tooLarge()
	}
	room := int64(firstStep)
	if r.ContentLength >= 0 {
		room = min(r.ContentLength, trustLength)
	}
	if err := b.grow(room + 1); err != nil { // One more, to meet the end without growing.
		return b, err
	}
	src := http.MaxBytesReader(w, r.Body, most)
	for {
		data := b.data.Bytes
		n, err := src.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		b.data.Bytes = data
		var tooLarge *http.MaxBytesError
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case errors.As(err, &tooLarge):
			return b, h.tooLarge()
		case err != nil:
			// The sender is gone or slow: it will hardly read this, and if it
			// does it should come again.
			return b, refuse(http.StatusServiceUnavailable, fmt.Errorf("read body: %w", err))
		}
		if len(data) == cap(data) {
			if err := b.grow(min(2*int64(cap(data)), most+1)); err != nil {
				return b, err
			}
		}
	}
}

func (h *handler) tooLarge() error {
	return h.overLimit(http.StatusRequestEntityTooLarge,
		limit.Over(flagRequestBytes, "the body is over the limit of %s", h.config.RequestBytes))
}

// overLimit refuses a request because of a limit, and counts it.
func (h *handler) overLimit(status int, err error) error {
	if over := (*limit.Error)(nil); errors.As(err, &over) {
		h.metrics.overLimit.WithLabelValues(over.Name).Inc()
	}
	return refuse(status, err)
}

// framedMagic begins snappy's other format, the framed one. No block can begin
// like this: it would copy from before its beginning.
var framedMagic = []byte("\xff\x06\x00\x00sNaPpY")

// checkSnappy looks at the length that a snappy block begins with, so that no
// one behind this door allocates what a few bytes claim.
func (h *handler) checkSnappy(data []byte) error {
	if bytes.HasPrefix(data, framedMagic) {
		return refuse(http.StatusUnsupportedMediaType, errors.New("the body is in snappy's framed format, remote write has the block format"))
	}
	decoded, n := binary.Uvarint(data)
	switch {
	case n <= 0:
		return refuse(http.StatusBadRequest, errors.New("the body is no snappy block"))
	case decoded > uint64(h.config.DecodedBytes):
		return h.overLimit(http.StatusRequestEntityTooLarge,
			limit.Over(flagDecodedBytes, "the body says that it is %d bytes decompressed, the limit is %d", decoded, int64(h.config.DecodedBytes)))
	case decoded > maxSnappy(len(data)-n):
		return refuse(http.StatusBadRequest, fmt.Errorf("the body is no snappy block: %d bytes cannot hold the %d that it claims", len(data), decoded))
	}
	return nil
}

// maxSnappy returns what n bytes of snappy elements can decompress to at most:
// none yields more than a copy of 64 bytes, which takes 3.
func maxSnappy(n int) uint64 { return uint64(n) * 64 / 3 }
