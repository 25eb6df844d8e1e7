package stream

import (
	"encoding/binary"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/server/call"
)

// How large a response gets before it is sent: with its last series and the cursor it
// is about one large frame. A stream starts with less, so that the first one comes at
// once, and doubles it.
const (
	responseSize = h2frames.Large - 1<<10
	firstSize    = h2frames.Small - 1<<10
)

// mostPart is the most that one part of a series takes in a response: its labels, a
// histogram, an exemplar. So no response is above the 4 MiB that clients of gRPC
// accept by default. The limits of a forwarder are far below; if they are raised
// beyond this, what is larger is stored, and left out of streams.
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

// assembler assembles a response as wire bytes, without messages. A series is opened,
// gets its parts, and is closed; its length is then put into the room before it.
//
//	wire   prefix | tag room content | tag room content ...| cursor | event
//	                         ^ start of the open series
type assembler struct {
	wire    []byte
	size    int // at which the response is sent
	room    int // bytes before start for the length
	start   int // of the content of the open series
	samples int // floats and histograms in the response so far

	reference uint64 // of the open series; 0: none
	forget    bool   // the client has to forget all references first
}

func newAssembler() assembler { return assembler{wire: make([]byte, call.PrefixSize), size: firstSize} }

// message is the response.
func (a *assembler) message() []byte { return a.wire[call.PrefixSize:] }

// openSeries opens a series with its labels. If that fails, the response is what it
// was.
func (a *assembler) openSeries(ref uint64, from labelSource) error {
	before := len(a.wire)
	a.openReferenced(0)
	a.wire = from.AppendLabels(a.wire, ref)
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
	return err
}

// openReferenced opens a series by the reference that stands for its labels; if that
// is zero, labels have to follow.
func (a *assembler) openReferenced(reference uint64) {
	a.room = 1
	if reference == 0 {
		a.room = 2 // With labels, most lengths take two bytes.
	}
	a.wire = append(a.wire, fieldTimeSeries<<3|byte(protowire.BytesType), 0, 0)
	a.wire = a.wire[:len(a.wire)-2+a.room]
	a.start = len(a.wire)
	a.reference = reference
}

// float adds a float sample. Zeros are left out, as in protobuf; a negative zero is
// not one.
func (a *assembler) float(timestamp, start int64, value float64) {
	a.wire = call.AppendFloat(a.wire, timestamp, start, value)
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

// closeSeries closes the series, and puts its length before it.
func (a *assembler) closeSeries() {
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

// full says that the response has to be sent before another series is opened.
func (a *assembler) full() bool { return len(a.wire) >= a.size }

func (a *assembler) bytes() int64 { return int64(cap(a.wire)) }

func (a *assembler) empty() bool { return len(a.wire) == call.PrefixSize }

// cursor and event come after the series, event last.
func (a *assembler) cursor(c string) {
	if c != "" {
		a.wire = protowire.AppendTag(a.wire, fieldCursor, protowire.BytesType)
		a.wire = protowire.AppendString(a.wire, c)
	}
}

// event is what a response says besides series. The zero event says nothing.
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
	content, _ := proto.Marshal(g) // fails only for a string that is not UTF-8
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
		a.wire = make([]byte, call.PrefixSize)
	}
	a.wire, a.samples, a.forget = a.wire[:call.PrefixSize], 0, false
}
