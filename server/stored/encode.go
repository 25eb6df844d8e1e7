package stored

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// Field numbers of the messages.
const (
	fieldSeries = 1
	fieldEnd    = 2

	fieldLabels    = 1
	fieldParts     = 2
	fieldExemplars = 3

	fieldName  = 1
	fieldValue = 2

	fieldMin    = 1
	fieldMax    = 2
	fieldChunks = 3

	fieldEncoding = 1
	fieldChunkMin = 2
	fieldChunkMax = 3
	fieldData     = 4
	fieldLags     = 5
)

// responseSize is at which a response is sent, and a series goes on in the next one.
const responseSize = h2frames.Large - 1<<10

// encodings of chunks, by Prometheus' numbers.
var encodings = map[chunkenc.Encoding]queryv1.StoredChunk_Encoding{
	chunkenc.EncXOR:            queryv1.StoredChunk_ENCODING_XOR,
	chunkenc.EncHistogram:      queryv1.StoredChunk_ENCODING_HISTOGRAM,
	chunkenc.EncFloatHistogram: queryv1.StoredChunk_ENCODING_FLOAT_HISTOGRAM,
}

// encoder makes responses of series, as bytes, and sends those that are full.
type encoder struct {
	send func(envelope []byte) error
	wire []byte
	// What is encoded within one another, from the outside to the inside.
	one, part, chunk, bytes []byte
	data                    chunk.Data
}

func newEncoder(send func([]byte) error) *encoder {
	return &encoder{send: send, wire: make([]byte, call.PrefixSize)}
}

// series adds a series, with its labels alone if those were asked for.
func (e *encoder) series(s *samples.Series, labelsOnly bool) error {
	e.open(s.Labels)
	if labelsOnly {
		return e.close()
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		e.openPart(p)
		for j := range p.Chunks {
			if len(e.wire)+len(e.one)+len(e.part) >= responseSize {
				e.closePart()
				if err := e.close(); err != nil {
					return err
				}
				e.open(s.Labels)
				e.openPart(p)
			}
			e.addChunk(&p.Chunks[j])
		}
		e.closePart()
	}
	return e.close()
}

// exemplars adds a series with its exemplars.
func (e *encoder) exemplars(s *samples.ExemplarSeries) error {
	e.open(s.Labels)
	for i := range s.Exemplars {
		x := &s.Exemplars[i]
		m := &metricsv1.Exemplar{Value: x.Value, Timestamp: x.Ts}
		x.Labels.Range(func(l labels.Label) { m.Labels = append(m.Labels, &metricsv1.Label{Name: l.Name, Value: l.Value}) })
		var err error
		if e.bytes, err = (proto.MarshalOptions{}).MarshalAppend(e.bytes[:0], m); err != nil {
			return err
		}
		e.one = appendBytes(e.one, fieldExemplars, e.bytes)
	}
	return e.close()
}

// open begins a series.
func (e *encoder) open(ls labels.Labels) {
	e.one = e.one[:0]
	ls.Range(func(l labels.Label) {
		e.bytes = appendString(appendString(e.bytes[:0], fieldName, l.Name), fieldValue, l.Value)
		e.one = appendBytes(e.one, fieldLabels, e.bytes)
	})
}

// close puts the series into the response, which is sent if it is full.
func (e *encoder) close() error {
	e.wire = appendBytes(e.wire, fieldSeries, e.one)
	if len(e.wire) < responseSize {
		return nil
	}
	return e.flush()
}

func (e *encoder) flush() error {
	err := e.send(e.wire)
	e.wire = e.wire[:call.PrefixSize]
	return err
}

// end sends what is left, and that it is all.
func (e *encoder) end() error {
	e.wire = appendBytes(e.wire, fieldEnd, nil)
	return e.flush()
}

func (e *encoder) openPart(p *samples.Part) {
	e.part = appendInt(appendInt(e.part[:0], fieldMin, p.From), fieldMax, p.To)
}

func (e *encoder) closePart() { e.one = appendBytes(e.one, fieldParts, e.part) }

func (e *encoder) addChunk(c *chunk.Chunk) {
	e.chunk = appendInt(e.chunk[:0], fieldEncoding, int64(encodings[c.Data.Encoding()]))
	e.chunk = appendInt(appendInt(e.chunk, fieldChunkMin, c.Min), fieldChunkMax, c.Max)
	e.bytes = e.data.Append(e.bytes[:0], c)
	e.chunk = appendBytes(e.chunk, fieldData, e.bytes)
	if len(c.Lags) > 0 {
		e.chunk = appendBytes(e.chunk, fieldLags, c.Lags)
	}
	e.part = appendBytes(e.part, fieldChunks, e.chunk)
}

func appendBytes(b []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), content)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}
