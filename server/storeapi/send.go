package storeapi

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/server/call"
)

const (
	// sentAtOnce is how much is written at a time: with its last series about one large
	// frame.
	sentAtOnce = h2frames.Large - 1<<10
	// mostChunks is how much of a series' chunks is in one response, with one more.
	mostChunks = 1 << 20
)

// sending sends series, of which each is a response, and many are written at a time.
type sending struct {
	found *found
	send  func(envelopes []byte) error
	// exact says that the caller must not see how chunks were cut, and bare that it wants none.
	exact, bare bool
	out         []byte // envelopes
	again       []byte // room for chunks that were merged
}

// all sends the series, or so many of the first ones if limit is above 0.
func (s *sending) all(limit int64) error {
	list := s.found.list
	for i, sent := 0, int64(0); i < len(list); {
		if limit > 0 && sent == limit {
			break
		}
		n := 1
		for i+n < len(list) && s.found.same(&list[i], &list[i+n]) {
			n++
		}
		chunks, err := s.chunks(list[i : i+n])
		if err != nil {
			return err
		}
		if len(chunks) > 0 || s.found.labelsOnly {
			if s.bare {
				chunks = nil
			}
			if err := s.series(s.found.sent(&list[i]), chunks); err != nil {
				return err
			}
			sent++
		}
		i += n
	}
	return s.flush()
}

// chunks returns those of a series that so many places have.
func (s *sending) chunks(places []entry) (_ []byte, err error) {
	if s.found.labelsOnly {
		return nil, nil
	}
	if len(places) == 1 && !places[0].mixed() && !s.exact {
		return s.found.chunksOf(&places[0]), nil
	}
	var written [][]byte
	for i := range places {
		written = append(written, s.found.chunksOf(&places[i]))
	}
	if s.exact {
		s.again, err = s.found.encoder.exact(s.again[:0], s.found.wanted, written...)
		return s.again, err
	}
	s.again, err = s.found.encoder.merge(s.again[:0], written...)
	return s.again, err
}

// series sends a series: in several responses if it is large.
func (s *sending) series(ranks []uint32, chunks []byte) error {
	size := 0
	for _, rank := range ranks {
		size += len(s.found.dict.at(rank).wire)
	}
	for {
		piece, rest := cutChunks(chunks)
		s.response(ranks, size, piece)
		if len(s.out) >= sentAtOnce {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if chunks = rest; len(chunks) == 0 {
			return nil
		}
	}
}

// response appends a response in its envelope.
func (s *sending) response(ranks []uint32, size int, chunks []byte) {
	size += len(chunks)
	at := len(s.out)
	s.out = slices.Grow(s.out, call.PrefixSize+1+protowire.SizeBytes(size))
	s.out = append(s.out[:at+call.PrefixSize], fieldSeries<<3|byte(protowire.BytesType))
	s.out = protowire.AppendVarint(s.out, uint64(size))
	for _, rank := range ranks {
		s.out = append(s.out, s.found.dict.at(rank).wire...)
	}
	s.out = append(s.out, chunks...)
	s.out[at] = 0
	call.Complete(s.out[at:])
}

// cutChunks cuts chunks where there are enough for a response.
func cutChunks(chunks []byte) (piece, rest []byte) {
	if len(chunks) <= mostChunks {
		return chunks, nil
	}
	n := 0
	for n < mostChunks && n < len(chunks) {
		n += protowire.ConsumeFieldValue(fieldChunks, protowire.BytesType, chunks[n+1:]) + 1
	}
	return chunks[:n], chunks[n:]
}

// flush sends what there is.
func (s *sending) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.send(s.out)
	s.out = s.out[:0]
	return err
}
