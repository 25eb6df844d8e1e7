package stored

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/protoscan"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// errInvalid is of bytes that are no response, or none that makes sense.
var errInvalid = errors.New("decode series: it is no valid response")

// sizeOfCount is what a chunk's data starts with, the number of samples.
const sizeOfCount = 2

// Decoder decodes the responses of a call, one after another.
type Decoder struct {
	// Series are those that were decoded so far, or their labels alone; Exemplars those
	// with exemplars, where these were asked for.
	Series    []*samples.Series
	Exemplars []samples.ExemplarSeries
	// Ended says that the last response was decoded.
	Ended bool

	builder labels.ScratchBuilder
}

// Response decodes a response, whose bytes the series have from then on. It returns about
// how many bytes that took.
func (d *Decoder) Response(wire []byte) (int64, error) {
	n := int64(len(wire))
	s := scanner{rest: wire}
	for s.next() {
		switch s.Number {
		case fieldSeries:
			more, err := d.series(s.Bytes)
			if err != nil {
				return n, err
			}
			n += more
		case fieldEnd:
			d.Ended = true
		}
	}
	return n, s.err()
}

// series decodes a series, and returns about what it takes besides its bytes.
func (d *Decoder) series(wire []byte) (int64, error) {
	n := int64(samples.SeriesBytes)
	var parts []samples.Part
	var exemplars []exemplar.Exemplar
	var last []byte
	d.builder.Reset()
	s := scanner{rest: wire}
	for s.next() {
		switch s.Number {
		case fieldLabels:
			name, value, err := label(s.Bytes)
			if err != nil || bytes.Compare(name, last) <= 0 {
				return 0, errInvalid
			}
			last = name
			d.builder.Add(string(name), string(value))
		case fieldParts:
			p, err := part(s.Bytes)
			if err != nil {
				return 0, err
			}
			parts = append(parts, p)
			n += int64(len(p.Chunks)) * samples.ChunkBytes
		case fieldExemplars:
			x, err := exemplarOf(s.Bytes)
			if err != nil {
				return 0, err
			}
			exemplars = append(exemplars, x)
		}
	}
	if s.invalid {
		return 0, errInvalid
	}
	ls := d.builder.Labels()
	if len(exemplars) > 0 {
		d.Exemplars = append(d.Exemplars, samples.ExemplarSeries{Labels: ls, Exemplars: exemplars})
		return n, nil
	}
	return n, d.add(ls, parts)
}

// add adds a series, which may go on from the last one.
func (d *Decoder) add(ls labels.Labels, parts []samples.Part) error {
	if n := len(d.Series); n > 0 {
		before := d.Series[n-1]
		switch c := labels.Compare(before.Labels, ls); {
		case c > 0:
			return fmt.Errorf("%w: series are not sorted", errInvalid)
		case c == 0:
			before.Parts = append(before.Parts, parts...)
			return nil
		}
	}
	d.Series = append(d.Series, &samples.Series{Labels: ls, Parts: parts})
	return nil
}

func label(wire []byte) (name, value []byte, err error) {
	s := scanner{rest: wire}
	for s.next() {
		switch s.Number {
		case fieldName:
			name = s.Bytes
		case fieldValue:
			value = s.Bytes
		}
	}
	return name, value, s.err()
}

func part(wire []byte) (p samples.Part, err error) {
	s := scanner{rest: wire}
	for s.next() {
		switch s.Number {
		case fieldMin:
			p.From = int64(s.Value)
		case fieldMax:
			p.To = int64(s.Value)
		case fieldChunks:
			c, err := chunkOf(s.Bytes)
			if err != nil {
				return p, err
			}
			p.Chunks = append(p.Chunks, c)
		}
	}
	return p, s.err()
}

func chunkOf(wire []byte) (c chunk.Chunk, err error) {
	var data []byte
	encoding := chunkenc.EncNone
	s := scanner{rest: wire}
	for s.next() {
		switch s.Number {
		case fieldEncoding:
			encoding = encodingOf(s.Value)
		case fieldChunkMin:
			c.Min = int64(s.Value)
		case fieldChunkMax:
			c.Max = int64(s.Value)
		case fieldData:
			data = s.Bytes
		case fieldLags:
			c.Lags = s.Bytes
		}
	}
	if s.invalid || encoding == chunkenc.EncNone || len(data) < sizeOfCount || c.Max < c.Min {
		return c, errInvalid
	}
	if len(c.Lags) == 0 {
		c.Lags = nil
	}
	c.Data, err = chunkenc.FromData(encoding, data)
	return c, err
}

// encodingOf is Prometheus' number of an encoding, none for one that is not known.
func encodingOf(value uint64) chunkenc.Encoding {
	switch queryv1.StoredChunk_Encoding(value) {
	case queryv1.StoredChunk_ENCODING_XOR:
		return chunkenc.EncXOR
	case queryv1.StoredChunk_ENCODING_HISTOGRAM:
		return chunkenc.EncHistogram
	case queryv1.StoredChunk_ENCODING_FLOAT_HISTOGRAM:
		return chunkenc.EncFloatHistogram
	}
	return chunkenc.EncNone
}

func exemplarOf(wire []byte) (exemplar.Exemplar, error) {
	var m metricsv1.Exemplar
	if err := proto.Unmarshal(wire, &m); err != nil {
		return exemplar.Exemplar{}, fmt.Errorf("%w: %w", errInvalid, err)
	}
	var builder labels.ScratchBuilder
	for _, l := range m.GetLabels() {
		builder.Add(l.GetName(), l.GetValue())
	}
	builder.Sort()
	return exemplar.Exemplar{Labels: builder.Labels(), Value: m.GetValue(), Ts: m.GetTimestamp(), HasTs: true}, nil
}

// scanner goes through the fields of a message.
type scanner struct {
	protoscan.Field
	rest    []byte
	invalid bool
}

func (s *scanner) next() bool {
	if len(s.rest) == 0 {
		return false
	}
	f, ok := protoscan.Read(s.rest, 0)
	if !ok {
		s.invalid = true
		return false
	}
	s.Field, s.rest = f, s.rest[f.Next:]
	return true
}

func (s *scanner) err() error {
	if s.invalid {
		return errInvalid
	}
	return nil
}
