package stored

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
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
	return n, eachField(wire, func(f *field) error {
		switch f.number {
		case fieldSeries:
			return d.series(f.bytes, &n)
		case fieldEnd:
			d.Ended = true
		}
		return nil
	})
}

// decoded is a series of a response.
type decoded struct {
	parts     []samples.Part
	exemplars []exemplar.Exemplar
}

func (d *Decoder) series(wire []byte, n *int64) error {
	*n += samples.SeriesBytes
	var s decoded
	last := ""
	d.builder.Reset()
	err := eachField(wire, func(f *field) error {
		switch f.number {
		case fieldLabels:
			name, value, err := label(f.bytes)
			if err != nil || name <= last {
				return errInvalid
			}
			last = name
			d.builder.Add(name, value)
		case fieldParts:
			p, err := part(f.bytes)
			s.parts = append(s.parts, p)
			*n += int64(len(p.Chunks)) * samples.ChunkBytes
			return err
		case fieldExemplars:
			x, err := exemplarOf(f.bytes)
			s.exemplars = append(s.exemplars, x)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.add(d.builder.Labels(), s)
}

// add adds a series, which may go on from the last one.
func (d *Decoder) add(ls labels.Labels, s decoded) error {
	if len(s.exemplars) > 0 {
		d.Exemplars = append(d.Exemplars, samples.ExemplarSeries{Labels: ls, Exemplars: s.exemplars})
		return nil
	}
	if n := len(d.Series); n > 0 {
		before := d.Series[n-1]
		switch c := labels.Compare(before.Labels, ls); {
		case c > 0:
			return fmt.Errorf("%w: series are not sorted", errInvalid)
		case c == 0:
			before.Parts = append(before.Parts, s.parts...)
			return nil
		}
	}
	d.Series = append(d.Series, &samples.Series{Labels: ls, Parts: s.parts})
	return nil
}

func label(wire []byte) (name, value string, err error) {
	err = eachField(wire, func(f *field) error {
		switch f.number {
		case fieldName:
			name = string(f.bytes)
		case fieldValue:
			value = string(f.bytes)
		}
		return nil
	})
	return name, value, err
}

func part(wire []byte) (p samples.Part, err error) {
	err = eachField(wire, func(f *field) error {
		switch f.number {
		case fieldMin:
			p.From = int64(f.value)
		case fieldMax:
			p.To = int64(f.value)
		case fieldChunks:
			c, err := chunkOf(f.bytes)
			p.Chunks = append(p.Chunks, c)
			return err
		}
		return nil
	})
	return p, err
}

func chunkOf(wire []byte) (c chunk.Chunk, err error) {
	var data []byte
	var encoding chunkenc.Encoding
	err = eachField(wire, func(f *field) error {
		switch f.number {
		case fieldEncoding:
			for theirs, ours := range encodings {
				if uint64(ours) == f.value {
					encoding = theirs
				}
			}
		case fieldChunkMin:
			c.Min = int64(f.value)
		case fieldChunkMax:
			c.Max = int64(f.value)
		case fieldData:
			data = f.bytes
		case fieldLags:
			c.Lags = f.bytes
		}
		return nil
	})
	if err != nil || encoding == chunkenc.EncNone || len(data) < sizeOfCount || c.Max < c.Min {
		return c, errInvalid
	}
	if len(c.Lags) == 0 {
		c.Lags = nil
	}
	c.Data, err = chunkenc.FromData(encoding, data)
	return c, err
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

// field is one of a message: a number, or bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

// eachField calls do for the fields of a message.
func eachField(b []byte, do func(*field) error) error {
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errInvalid
		}
		b = b[n:]
		f := field{number: number}
		switch wire {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, wire, b)
		}
		if n < 0 {
			return errInvalid
		}
		b = b[n:]
		if err := do(&f); err != nil {
			return err
		}
	}
	return nil
}
