package stream

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/h2frames"
)

// How large a response gets before it is sent: with the last series and the
// cursor it is about one large frame. A stream begins with less, so that
// something comes at once, and doubles it.
const (
	responseSize = h2frames.Large - 1<<10
	firstSize    = h2frames.Small - 1<<10
)

// mostPart is the most that one part of a series takes in a response: its labels,
// a histogram, an exemplar. So no response is above the 4 MiB that clients of gRPC
// take unless they are told otherwise. The limits of a forwarder are far below; who
// raises them beyond it has what is larger stored, and left out of streams.
const mostPart = 1 << 20

// Why a series could not be opened in a response.
var (
	errNoLabels = errors.New("its labels are not known")
	errTooLarge = errors.New("its labels are larger than a response may be")
)

// Field numbers of the messages that are assembled here.
const (
	fieldTimeSeries = 1
	fieldCursor     = 2
	fieldSynced     = 3
	fieldHeartbeat  = 4
	fieldGap        = 5
	fieldEnd        = 6
	fieldForget     = 7

	fieldSamples    = 2
	fieldExemplars  = 3
	fieldHistograms = 4
	fieldCoalesced  = 16
	fieldRef        = 17
)

// Response is a GetMetricsResponse as the bytes that go over the wire.
type Response struct{ wire []byte }

// assembler puts a response together, field by field, without a message in
// between. A series is opened, gets its parts, and is closed.
type assembler struct {
	wire    []byte // behind room for the envelope's prefix
	size    int    // at which it is to be sent
	room    int    // for the length of the series under way, which is known at its end
	start   int    // of the content of the series under way
	series  int    // in the response so far
	samples int    // floats and histograms in the response so far

	reference uint64 // of the series under way; 0: none
	forget    bool   // this response begins to give references anew
}

// prefixSize is what precedes a message of a stream in all protocols: a byte of
// flags, none of which are set here, and the length.
const prefixSize = 5

func newAssembler() assembler { return assembler{wire: make([]byte, prefixSize), size: firstSize} }

// message is the response.
func (a *assembler) message() []byte { return a.wire[prefixSize:] }

// envelope is the response with its prefix.
func (a *assembler) envelope() []byte {
	binary.BigEndian.PutUint32(a.wire[1:], uint32(len(a.message())))
	return a.wire
}

// open begins a series. If it cannot, nothing was begun.
func (a *assembler) open(ref uint64, names labelSource) error {
	before := len(a.wire)
	a.begin(0)
	a.wire = names.AppendLabels(a.wire, ref)
	var err error
	switch n := len(a.wire) - a.start; {
	case n == 0:
		err = errNoLabels
	case n > mostPart:
		err = errTooLarge
	default:
		return nil
	}
	a.wire = a.wire[:before]
	a.series--
	return err
}

// begin begins a series without labels, for which a reference stands, if it is
// not zero.
func (a *assembler) begin(reference uint64) {
	a.room = 1
	if reference == 0 {
		a.room = 2 // Labels make a series longer than a byte can say.
	}
	a.wire = append(a.wire, fieldTimeSeries<<3|byte(protowire.BytesType), 0, 0)
	a.wire = a.wire[:len(a.wire)-2+a.room]
	a.start = len(a.wire)
	a.reference = reference
	a.series++
}

// float adds a float sample. Zeros are left out, as protobuf has it; a negative
// zero is not one.
func (a *assembler) float(timestamp, start int64, value float64) {
	a.wire = append(a.wire, fieldSamples<<3|byte(protowire.BytesType), 0)
	at := len(a.wire) - 1
	if bits := math.Float64bits(value); bits != 0 {
		a.wire = append(a.wire, 1<<3|byte(protowire.Fixed64Type))
		a.wire = protowire.AppendFixed64(a.wire, bits)
	}
	if timestamp != 0 {
		a.wire = append(a.wire, 2<<3|byte(protowire.VarintType))
		a.wire = protowire.AppendVarint(a.wire, uint64(timestamp))
	}
	if start != 0 {
		a.wire = protowire.AppendTag(a.wire, 3, protowire.VarintType)
		a.wire = protowire.AppendVarint(a.wire, uint64(start))
	}
	a.wire[at] = byte(len(a.wire) - at - 1) // 31 at most
	a.samples++
}

func (a *assembler) histogram(data []byte) {
	a.wire = protowire.AppendTag(a.wire, fieldHistograms, protowire.BytesType)
	a.wire = protowire.AppendBytes(a.wire, data)
	a.samples++
}

func (a *assembler) exemplar(data []byte) {
	a.wire = protowire.AppendTag(a.wire, fieldExemplars, protowire.BytesType)
	a.wire = protowire.AppendBytes(a.wire, data)
}

func (a *assembler) coalesced(n uint64) {
	if n > 0 {
		a.wire = protowire.AppendTag(a.wire, fieldCoalesced, protowire.VarintType)
		a.wire = protowire.AppendVarint(a.wire, n)
	}
}

// close ends the series, and puts its length in its place.
func (a *assembler) close() {
	if a.reference != 0 {
		a.wire = protowire.AppendTag(a.wire, fieldRef, protowire.VarintType)
		a.wire = protowire.AppendVarint(a.wire, a.reference)
	}
	n := len(a.wire) - a.start
	switch size := protowire.SizeVarint(uint64(n)); {
	case size < a.room:
		a.wire = append(a.wire[:a.start-a.room+size], a.wire[a.start:]...)
	case size > a.room:
		a.wire = slices.Insert(a.wire, a.start, make([]byte, size-a.room)...)
	}
	binary.PutUvarint(a.wire[a.start-a.room:], uint64(n))
}

// full says that the response is to be sent before another series is opened.
func (a *assembler) full() bool { return len(a.wire) >= a.size }

func (a *assembler) bytes() int64 { return int64(cap(a.wire)) }

func (a *assembler) empty() bool { return len(a.wire) == prefixSize }

// cursor and event come behind the series, event last.
func (a *assembler) cursor(c string) {
	if c != "" {
		a.wire = protowire.AppendTag(a.wire, fieldCursor, protowire.BytesType)
		a.wire = protowire.AppendString(a.wire, c)
	}
}

// event is what a response can say besides series. The zero event says nothing.
type event struct {
	field   protowire.Number
	content []byte
}

var (
	noEvent   = event{}
	synced    = event{field: fieldSynced}
	heartbeat = event{field: fieldHeartbeat}
	end       = event{field: fieldEnd}
)

func gapEvent(g *metricsv1.Gap) event {
	content, _ := proto.Marshal(g) // Fails for a string that is not UTF-8 only.
	return event{fieldGap, content}
}

func (a *assembler) event(e event) {
	if a.forget {
		a.wire = protowire.AppendTag(a.wire, fieldForget, protowire.VarintType)
		a.wire = protowire.AppendVarint(a.wire, 1)
	}
	if e.field != 0 {
		a.wire = protowire.AppendTag(a.wire, e.field, protowire.BytesType)
		a.wire = protowire.AppendBytes(a.wire, e.content)
	}
}

func (a *assembler) reset() {
	if a.full() {
		a.size = min(2*a.size, responseSize)
	}
	if cap(a.wire) > mostPart {
		a.wire = make([]byte, prefixSize)
	}
	a.wire, a.series, a.samples, a.forget = a.wire[:prefixSize], 0, 0, false
}
